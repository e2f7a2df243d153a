"""What is known of a data set's neurons as a population: its noise ceilings, and others that saw the same images."""

import os

import numpy as np
import pandas as pd

from helpers import datasets, metrics
from helpers.datasets.describe import catalogue


def ceilings(dataset):
    """Return both noise ceilings per neuron: a frame with columns signal_power and split_half; None without repeats."""
    if (repeats := dataset.val.repeats) is None:
        return None
    power, halves = metrics.noise_ceiling(repeats), metrics.split_half_ceiling(repeats)
    return pd.DataFrame({"signal_power": power, "split_half": halves})


def ceiling_of(dataset):
    """Return the noise ceiling per neuron by signal power (n_neurons,), else the published reliability, and a sentence.

    The sentence says which of the two it is.
    """
    both = ceilings(dataset)
    if both is None or both["signal_power"].isna().all():
        why = "The file has no repeats" if both is None else "Fewer than four val images, or none with two trials"
        return metrics.PUBLISHED_RELIABILITY, (
            f"{why}, so its noise ceiling is unknown. Normalised scores use the reliability published for the course's "
            f"IT sites, {metrics.PUBLISHED_RELIABILITY} (Majaj, Hong et al. 2015); that of other neurons may differ."
        )
    ceiling = both["signal_power"].to_numpy()
    power, halves = (f"{mean:.2f}" if np.isfinite(mean) else "undefined" for mean in both.mean())
    sentence = (
        f"Noise ceiling from the val images' repeats: {power} of the variance on average over {dataset.n_neurons} "
        f"neurons by signal power, {halves} by split halves."
    )
    if left_out := int((~(ceiling >= metrics.MINIMUM_RELIABILITY)).sum()):
        sentence += (
            f" Left out of normalised means: {left_out} neurons below {metrics.MINIMUM_RELIABILITY}, or unknown."
        )
    return ceiling, sentence


def same_images(dataset, profile):
    """Other neurons that saw the same images: their data set, as the profile prepares it, and a sentence.

    Its file is the one that $IT_OTHER_AREA names, else another of the same source beside the data file:
    majaj-hong-v4.h5 beside majaj-hong-it.h5. Where there is none, or its images are others, the data set is None and
    the sentence says what is missing.

    Parameters
    ----------
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile

    Raises
    ------
    DataError
        If the file that $IT_OTHER_AREA names cannot be used.
    """
    here, path = dataset.path, os.environ.get("IT_OTHER_AREA")
    if not path:
        files = catalogue().get(here.stem, {}).get("files")
        others = [name for name, entry in catalogue().items() if entry["files"] == files and name != here.stem]
        if not others:
            return None, f"No file of other neurons for {here.name}'s images is known: $IT_OTHER_AREA can name one."
        path = here.with_name(catalogue()[others[0]]["out"])
        if not path.exists():
            return None, f"{path.name} is not beside {here.name}: python -m helpers data fetch {others[0]} gets it."
    other = profile.prepare(datasets.load(path))
    if not np.array_equal(other.images, dataset.images):
        return None, f"{other.path.name} has other images than {here.name}, or another order of them."
    return other, f"{other.path.name}: {other.n_neurons} other neurons, the same images. {ceiling_of(other)[1]}"
