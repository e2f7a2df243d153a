"""Profiles: which rows, images and seeds are computed. They never cut a row: what runs, runs all of its own epochs."""

import json
import math
import os
import time
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch

from helpers import cache, datasets
from helpers.device import accelerator

SHALLOW_ROWS = tuple(
    f"{row}-{recipe}"
    for row in ("shallow", "shallow-schedule-statistics", "shallow-dropout", "shallow-dropout-l2", "deeper")
    for recipe in ("published", "repaired")
)


STEP = 16  # pixels


@dataclass(frozen=True)
class Profile:
    """Which rows are run, with how many seeds, on which images.

    seeds : name of a row -> number of seeds; a row that is not named runs by its command. None: every row, three seeds
    n_train : at most so many training images, the same for all rows and readouts; None for all
    pixels : at most so many pixels a side for readouts; None for the file's own
    backbone_pixels, shallow_pixels : the same for rows that train a backbone, and for those of the shallow CNN, where
        there are n_train images; of fewer images more pixels (see `side`)
    minutes : of training that a session has; rows are timed before they run (`planned`). None: as they come, untimed
    """

    name: str
    seeds: MappingProxyType | None
    n_train: int | None = None
    pixels: int | None = None
    backbone_pixels: int | None = None
    shallow_pixels: int | None = None
    minutes: float | None = None

    def prepare(self, dataset):
        """The data set as this profile's readouts see it."""
        return datasets.reduce(dataset, n_train=self.n_train, pixels=self.pixels)

    def training_data(self, experiment, dataset):
        """The prepared data set at the size that this profile trains the experiment's network at."""
        return datasets.reduce(dataset, n_train=None, pixels=self.side(dataset, backbone=bool(experiment.backbone)))

    def side(self, dataset, *, backbone):
        """Pixels a side for training: of fewer images than n_train more of them, at most those of readouts.

        An epoch of the shallow CNN costs about the same on any file, or less. A backbone's pixels grow faster, as it
        gains by them, at most at 1.9 times the cost: on a fold of V4 recordings the located readout of a tuned one, at
        one size, scored .428 at 112 pixels, .414 at 96, .396 at 64.
        """
        pixels, growth = (self.backbone_pixels, 1) if backbone else (self.shallow_pixels, 0.5)
        if pixels is None:
            return None
        more = (self.n_train / len(dataset.train.images)) ** growth
        return max(pixels, min(round(pixels * more / STEP) * STEP, self.pixels))

    def n_seeds(self, experiment):
        """How many seeds an experiment gets by itself; 0 for a row that only its command runs."""
        return 3 if self.seeds is None else self.seeds.get(experiment.name, 0)


# The rows that two CPU cores can run whole, in the order in which they are worth waiting for.
QUICK = dict.fromkeys(SHALLOW_ROWS, 3)
QUICK |= {"lite0-published": 3, "lite0-start": 1, "lite0-repaired": 3, "lite0-random-repaired": 1}
QUICK |= {"lite0-bi-objective-published": 1, "lite0-bi-objective-repaired": 1}
# What a GPU session is worth, in this order: the shallow chain, backbones by what they say of the published study.
COLAB = dict.fromkeys(SHALLOW_ROWS, 3) | {"lite0-published": 3, "lite0-start": 1, "lite0-repaired": 3}
COLAB |= {
    f"{row}-{recipe}": 1
    for row in ("resnet50", "vit-tiny", "bi-objective", "lite0-bi-objective", "densenet201", "efficientnet-b5")
    + ("bi-objective-0.3", "bi-objective-random", "vit-small", "vit-base", "pnasnet5large")
    for recipe in ("published", "repaired")
}
COLAB |= {"lite1-repaired": 1, "lite2-repaired": 1}  # of the best model alone
TINY = dict.fromkeys(QUICK, 1) | dict.fromkeys(SHALLOW_ROWS[:2], 2)
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("tiny", MappingProxyType(TINY), n_train=64, pixels=32),
        Profile("quick", MappingProxyType(QUICK), n_train=1000, pixels=112, backbone_pixels=64, shallow_pixels=48),
        Profile("colab", MappingProxyType(COLAB), minutes=75),
        Profile("full", None, minutes=math.inf),
    )
}


TIMED_STEPS = 10
SESSION_HOURS = 12  # at most, of Colab's; a plan that is older is made anew


def planned(profile, dataset, find_all, *, seconds_of=None, now=time.time):
    """The profile with those runs alone that fit its minutes; says how long they take and what is left for next time.

    Rows are timed by ten steps a family and recipe, then taken in the profile's order, each run that still fits. A plan
    holds for a session: it lies with what can be made again ($IT_SCRATCH), for `SESSION_HOURS`. Runs that are there
    cost nothing, so the next session goes on. Not counted: a row's run on a fold, by which notebook 4 chooses.

    Parameters
    ----------
    profile : Profile; one without `minutes` is returned as it is
    dataset : Dataset, as `profile.prepare` returned it
    find_all : runs.find_all
    seconds_of, now : `seconds_a_run` and the clock, for tests
    """
    from helpers.experiments.networks_and_recipes import EXPERIMENTS  # networks, which are slow to import

    if profile.minutes is None:
        return profile
    path = cache.scratch_folder() / dataset.name / f"plan-{profile.name}-{dataset.fingerprint[:12]}.json"
    plan = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not plan or now() - plan["made"] > SESSION_HOURS * 3600:
        rows = [name for name, experiment in EXPERIMENTS.items() if experiment.in_table]
        wanted = dict(profile.seeds or dict.fromkeys(rows, 3))
        if len(dataset.object_names) == 1:  # nothing for an object head to learn
            wanted = {name: n for name, n in wanted.items() if EXPERIMENTS[name].label_weight is None}
        kept = {name: len(find_all(EXPERIMENTS[name], dataset, profile)) for name in wanted}
        todo = [name for name in wanted if wanted[name] > kept[name]]
        seconds = (seconds_of or seconds_a_run)(todo, dataset, profile)
        runs, left = fitting_runs(wanted, kept, seconds, 60 * profile.minutes)
        plan = {"made": now(), "runs": runs, "said": _said(profile, runs, kept, left, seconds)}
        path.parent.mkdir(parents=True, exist_ok=True)
        cache.write_whole(path, lambda beside: beside.write_text(json.dumps(plan), encoding="utf-8"))
    print(plan["said"], flush=True)
    return replace(profile, seeds=MappingProxyType(plan["runs"]))


def fitting_runs(wanted, kept, seconds, budget):
    """Which runs fit: seeds of each row that are there then, and those left out; dicts name -> number.

    wanted, kept : name -> number of seeds, in the order of the rows. seconds : name -> of one run. budget : seconds
    """
    runs = {name: min(n, kept[name]) for name, n in wanted.items()}
    for name, n_wanted in wanted.items():
        while runs[name] < n_wanted and seconds[name] <= budget and seconds[name] < math.inf:
            budget -= seconds[name]
            runs[name] += 1
    return runs, {name: n - runs[name] for name, n in wanted.items() if n > runs[name]}


def seconds_a_run(names, dataset, profile):
    """Estimated seconds of one run of each row: dict name -> number, from the second of two epochs of ten steps.

    Rows that share network, batches and recipe of heads share a timing, as a random start costs what a trained one
    does. A row that cannot be timed, for want of memory, is said and left out of the plan (infinite).
    """
    from helpers.experiments.networks_and_recipes import EXPERIMENTS

    timed, seconds = {}, {}
    for name in names:
        experiment = EXPERIMENTS[name]
        data = profile.training_data(experiment, dataset)
        kind = (experiment.backbone, experiment.channels, experiment.recipe.ridge_heads, experiment.recipe.batch_size)
        if kind not in timed:
            try:
                timed[kind] = _seconds_an_image(experiment, data)
            except RuntimeError as error:  # of the device: out of memory
                print(f"{name} cannot be timed and is left out: {str(error).partition(chr(10))[0]}", flush=True)
                timed[kind] = math.inf
        seconds[name] = timed[kind] * len(data.train.images) * max(experiment.recipe.epochs, 1)
    return seconds


def _seconds_an_image(experiment, data):
    from helpers.training import loop
    from helpers.training.recipe import CONSTANT

    few = datasets.reduce(data, n_train=TIMED_STEPS * experiment.recipe.batch_size, pixels=None)
    model, _ = replace(experiment, pretrained=False).build(few, 0)
    recipe = replace(experiment.recipe, epochs=2, schedule=CONSTANT)
    normalisation = experiment.inputs.normalisation(few, experiment.backbone)
    how = {"normalisation": normalisation, "label_weight": experiment.label_weight}
    history = loop.fit(model.to(accelerator().device), few, recipe, seed=0, **how)
    return history[1]["seconds"] / len(few.train.images)


def _said(profile, runs, kept, left, seconds):
    """A plan in words: minutes of what runs now, and of what is left."""
    now = {name: runs[name] - kept[name] for name in runs if runs[name] > kept[name]}
    minutes = {name: seconds[name] / 60 for name in seconds}
    total, n_now = sum(n * minutes[name] for name, n in now.items()), sum(now.values())
    long = f"{total / 60:.1f} hours" if total > 120 else f"{total:.0f} min"
    words = (
        f"profile {profile.name!r}: {n_now} runs to train whole, about {long} on this machine by ten steps of each kind"
    )
    if left:
        rest = "; ".join(
            f"{name} {n} x {minutes[name]:.0f} min" for name, n in left.items() if minutes[name] < math.inf
        )
        words += f". Left for the next session, or by their commands: {rest}"
    return words


def default_name():
    return "colab" if torch.cuda.is_available() else "quick"


def current_profile(name=None):
    """The profile that is named, else $IT_PROFILE's, else 'colab' with a CUDA device and 'quick' without."""
    name = name or os.environ.get("IT_PROFILE") or default_name()
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}; expected one of {', '.join(PROFILES)}")
    return PROFILES[name]
