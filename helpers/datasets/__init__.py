"""Data files: find and load them, make them from other sources, cut them into splits and folds."""

import os
import warnings
from pathlib import Path

from helpers.datasets.dataset import N_FOLDS, Dataset, Split, choosing_folds, fold_of, folds, object_folds, read, reduce
from helpers.datasets.describe import DATA, catalogue, check, doubts
from helpers.datasets.hdf5 import CATEGORY_OF, SIMULATED, DataError
from helpers.datasets.images import (
    IMAGENET,
    IMAGENET_MEAN,
    IMAGENET_SD,
    Normalisation,
    to_batch,
    training_statistics,
)


def find(path=None):
    """Path of the data file: `path`, else $IT_DATA, else data/IT_data.h5, else the stand-in, made on first use.

    A name of the catalogue of sources (majaj-hong-it) is its file in data/, fetched if it is not there.

    Raises
    ------
    DataError
        If a path was given, here or in $IT_DATA, and nothing is there.
    """
    given = path or os.environ.get("IT_DATA")
    if given:
        if str(given) in catalogue() and not Path(given).exists():
            name, given = str(given), DATA / catalogue()[str(given)]["out"]
            if not given.exists():
                from helpers.datasets import sources  # with what packs files, and needs longer

                sources.fetch(name, given)
        if not Path(given).exists():
            raise DataError(f"{given}: no such file{'' if path else ' (from $IT_DATA)'}.")
        return Path(given)
    if (DATA / "IT_data.h5").exists():
        return DATA / "IT_data.h5"
    target = standin_path()
    print(f"NO RECORDINGS in {DATA / 'IT_data.h5'}: using the stand-in with SIMULATED responses, {target}", flush=True)
    print("(python -m helpers data fetch majaj-hong-it gets recordings)", flush=True)
    return target


def standin_path():
    """Path of the stand-in, which is rendered if it is not there yet."""
    target = DATA / "standin.h5"
    if not target.exists():
        from helpers.datasets.simulated import standin

        print("Rendering the stand-in once; this takes up to a minute.", flush=True)
        standin.write(target)
    return target


def load(path=None):
    """Read and check the data file that `find` names; warns of what is odd in it.

    Parameters
    ----------
    path : str or Path, optional

    Returns
    -------
    dataset : Dataset

    Raises
    ------
    DataError
        One sentence naming file, key, found and expected.
    """
    dataset, *found = read(find(path))
    for sentence in doubts(dataset, *found):
        warnings.warn(f"{dataset.path}: {sentence}", stacklevel=2)
    return dataset
