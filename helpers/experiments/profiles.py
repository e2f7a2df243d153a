"""Profiles: how much is computed. They choose rows, images and seeds."""

import os
from dataclasses import dataclass, replace

import torch

from helpers import datasets


@dataclass(frozen=True)
class Limit:
    """What a profile allows the networks of a family.

    epochs : at most so many, and no more than show `presentations` images in all, but one
    n_train, pixels : at most so many training images, and pixels a side; None for all
    """

    epochs: int
    presentations: int
    seeds: int
    n_train: int | None = None
    pixels: int | None = None


@dataclass(frozen=True)
class Profile:
    """How much is computed. `limits` gives families their Limit, or None to those left out; None runs all in full."""

    name: str
    n_train: int | None
    pixels: int | None
    limits: dict[str, Limit | None] | None
    n_trials: int  # of notebook 1's search

    def prepare(self, dataset):
        """The data set as this profile sees it."""
        return datasets.reduce(dataset, n_train=self.n_train, pixels=self.pixels)

    def _limit_of(self, experiment):
        return self.limits.get(experiment.family, OTHERS)

    def runs(self, experiment):
        return self.limits is None or self._limit_of(experiment) is not None

    def seeds(self, experiment):
        """How many seeds an experiment gets; three in full."""
        return 3 if self.limits is None else self._limit_of(experiment).seeds

    def limit(self, experiment, dataset):
        """The experiment and the data set, cut to what this profile allows; a shortened schedule keeps its shape.

        Raises ValueError for a row that this profile leaves out.
        """
        if self.limits is None:
            return experiment, dataset
        if not self.runs(experiment):
            raise ValueError(f"{experiment.name}: left out of profile {self.name!r}; run it by --profile full")
        limit, recipe = self._limit_of(experiment), experiment.recipe
        dataset = datasets.reduce(dataset, n_train=limit.n_train, pixels=limit.pixels)
        epochs = max(1, min(limit.epochs, recipe.epochs, limit.presentations // len(dataset.train.images)))
        schedule = recipe.schedule.shortened(epochs / recipe.epochs)
        return replace(experiment, recipe=replace(recipe, epochs=epochs, schedule=schedule)), dataset


# Seconds per thousand training images of 64 by 64 pixels, forwards and backwards, on two CPU cores.
SECONDS = {"shallow": 1.3, "tf_efficientnet_lite0": 7, "vit_tiny_patch16_224": 5, "resnet50": 21}
SECONDS |= {"vit_small_patch16_224": 15, "vit_base_patch16_224": 55, "densenet201": 25}
SECONDS |= {"efficientnet_b5": 50, "pnasnet5large": 120}


def minutes(experiment, dataset):
    """Estimated minutes of one run on two CPU cores, of an experiment and a data set as a profile has cut them."""
    height, width = dataset.images.shape[2:]
    presentations = experiment.recipe.epochs * len(dataset.train.images)
    return SECONDS.get(experiment.family, 25) * presentations / 1000 * height * width / 64**2 / 60


QUICK = {
    "shallow": Limit(epochs=20, presentations=5000, seeds=3, pixels=48),
    "tf_efficientnet_lite0": Limit(epochs=10, presentations=3900, seeds=1),
    "vit_tiny_patch16_224": Limit(epochs=10, presentations=2000, seeds=1, pixels=64),
    "resnet50": Limit(epochs=10, presentations=128, seeds=1, n_train=128, pixels=64),
}
OTHERS = Limit(epochs=10, presentations=2000, seeds=1, pixels=64)  # of families that are not named, such as your own
LARGE = ("efficientnet_b5", "vit_base_patch16_224", "vit_small_patch16_224", "densenet201", "pnasnet5large")
QUICK |= dict.fromkeys(LARGE)
PROFILES = {
    "tiny": Profile(
        "tiny",
        n_train=64,
        pixels=32,
        limits={name: limit and Limit(2, 128, 1) for name, limit in QUICK.items()},
        n_trials=2,
    ),
    "quick": Profile("quick", n_train=1000, pixels=112, limits=QUICK, n_trials=6),
    "full": Profile("full", n_train=None, pixels=None, limits=None, n_trials=40),
}


def current_profile(name=None):
    """The profile that is named, else $IT_PROFILE's, else 'full' with a CUDA device and 'quick' without."""
    name = name or os.environ.get("IT_PROFILE") or ("full" if torch.cuda.is_available() else "quick")
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}; expected one of {', '.join(PROFILES)}")
    return PROFILES[name]
