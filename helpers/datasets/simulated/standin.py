"""The stand-in for the course file: rendered images and simulated responses in one HDF5 file of the same schema."""

from pathlib import Path

import numpy as np

from helpers.datasets.formats.whole import created, write_images
from helpers.datasets.hdf5 import SIMULATED, SPLITS
from helpers.datasets.simulated.neurons import RELIABILITY, simulate
from helpers.datasets.simulated.rendering import render

FIELD_UNITS = {
    "x": "centre as a share of the image's side, 0 left to 1 right",
    "y": "centre as a share of the image's side, 0 top to 1 bottom",
    "width": "standard deviation as a share of the image's side",
}
VERSION = 2  # of the simulation: files of other versions hold other neurons
QUICK, FULL = ((448, 144, 160), 64), ((2592, 288, 320), 224)  # images in train, val and test; pixels a side


def write(
    path,
    *,
    full=False,
    seed=0,
    label_share=0.35,
    local_share=0.2,
    n_trials=28,
    repeats=None,
    n_images=None,
    pixels=None,
    n_objects=None,
    n_unseen=0,
    as_course=False,
):
    """Make a stand-in and write it, whole and checked or not at all; the same settings give the same bytes.

    Images are gray uint8; the neurons' receptive fields stand beside, and attributes say what is built in.

    Parameters
    ----------
    path : str or Path
    full : bool
        The course file's shapes (2592 / 288 / 320 images of 224 pixels; minutes) rather than 448 / 144 / 160 of 64.
    seed, label_share, local_share, n_trials
        As in simulate.
    repeats : bool, optional
        Whether single trials of val are written as spikes_val_repeats; by default, unless full or as_course.
    n_images, pixels : three ints (train, val, test) and an int, optional
        Other sizes.
    n_objects : int, optional
        By default all 64, or fewer where an object would have less than 8 images.
    n_unseen : int
        So many more scenes, in no split, from which expectations over an object's views are taken too: see simulate.
    as_course : bool
        The course file's keys and float32 images alone, which notebooks written for it read.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If the shares or n_objects cannot be.
    DataError
        If the file is there or the folder cannot be written, before anything is rendered; if the disk is full.
    """
    counts, side = FULL if full else QUICK
    n_images, pixels = n_images or counts, pixels or side
    n_objects = n_objects or min(64, max(1, sum(n_images) // 8))
    if repeats is None:
        repeats = not (full or as_course)
    built_in = dict(label_share=label_share, local_share=local_share, n_trials=n_trials, seed=seed)
    sizes = {"n_unseen": n_unseen} if n_unseen else {}
    with created(path) as file:
        scenes = render(sum(n_images) + n_unseen, size=pixels, n_objects=n_objects, seed=seed)
        simulated = simulate(scenes, n_train=n_images[0], **built_in)
        file.attrs.update(description=SIMULATED, version=VERSION, reliability=RELIABILITY, **built_in, **sizes)
        write_splits(file, scenes, simulated, n_images, repeats=repeats, as_course=as_course)
    return Path(path)


def write_splits(file, scenes, simulated, n_images, *, repeats, as_course):
    """Images, object names and responses of each split; single trials of val and receptive fields where wanted."""
    ends = np.cumsum([0, *n_images])
    for split, start, stop in zip(SPLITS, ends, ends[1:], strict=False):
        pixels = scenes.pixels[start:stop, None]  # (n_images, 1, height, width)
        write_images(file, f"stimulus_{split}", pixels, pixels.shape[1:], as_course)
        file[f"object_{split}"] = np.char.encode(scenes.objects[start:stop], "latin-1")
        if split != "test":
            file[f"spikes_{split}"] = simulated.trials[start:stop].mean(1, dtype=float).astype(np.float32)
    if repeats:
        file.create_dataset("spikes_val_repeats", data=simulated.trials[ends[1] : ends[2]], compression="gzip")
    if not as_course:
        for (name, unit), values in zip(FIELD_UNITS.items(), simulated.receptive_fields.T, strict=True):
            file[f"receptive_field_{name}"] = values
            file[f"receptive_field_{name}"].attrs["unit"] = unit
