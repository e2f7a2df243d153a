"""Profiles: which rows, images and seeds are computed. They never cut a row: what runs, runs all of its own epochs."""

import os
from dataclasses import dataclass
from types import MappingProxyType

import torch

from helpers import datasets

SHALLOW_ROWS = tuple(
    f"{row}-{recipe}"
    for row in ("shallow", "shallow-schedule-statistics", "shallow-dropout", "shallow-dropout-l2", "deeper")
    for recipe in ("published", "repaired")
)


@dataclass(frozen=True)
class Profile:
    """Which rows are run, with how many seeds, on which images.

    seeds : name of a row -> number of seeds; a row that is not named runs by its command. None: every row, three seeds
    n_train : at most so many training images, the same for all rows and readouts; None for all
    pixels : at most so many pixels a side for readouts; None for the file's own
    backbone_pixels, shallow_pixels : the same for rows that train a backbone, and for those of the shallow CNN
    """

    name: str
    seeds: MappingProxyType | None
    n_train: int | None = None
    pixels: int | None = None
    backbone_pixels: int | None = None
    shallow_pixels: int | None = None

    def prepare(self, dataset):
        """The data set as this profile's readouts see it."""
        return datasets.reduce(dataset, n_train=self.n_train, pixels=self.pixels)

    def training_data(self, experiment, dataset):
        """The prepared data set at the size that this profile trains the experiment's network at."""
        pixels = self.backbone_pixels if experiment.backbone else self.shallow_pixels
        return datasets.reduce(dataset, n_train=None, pixels=pixels)

    def n_seeds(self, experiment):
        """How many seeds an experiment gets by itself; 0 for a row that only its command runs."""
        return 3 if self.seeds is None else self.seeds.get(experiment.name, 0)


# The rows that two CPU cores can run whole, in the order in which they are worth waiting for.
QUICK = dict.fromkeys(SHALLOW_ROWS, 3)
QUICK |= {"lite0-published": 3, "lite0-start": 1, "lite0-repaired": 3, "lite0-random-repaired": 1}
QUICK |= {"lite0-bi-objective-published": 1, "lite0-bi-objective-repaired": 1}
TINY = dict.fromkeys(QUICK, 1) | dict.fromkeys(SHALLOW_ROWS[:2], 2)
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("tiny", MappingProxyType(TINY), n_train=64, pixels=32),
        Profile("quick", MappingProxyType(QUICK), n_train=1000, pixels=112, backbone_pixels=64, shallow_pixels=48),
        Profile("full", None),
    )
}


def default_name():
    return "full" if torch.cuda.is_available() else "quick"


def current_profile(name=None):
    """The profile that is named, else $IT_PROFILE's, else 'full' with a CUDA device and 'quick' without."""
    name = name or os.environ.get("IT_PROFILE") or default_name()
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}; expected one of {', '.join(PROFILES)}")
    return PROFILES[name]
