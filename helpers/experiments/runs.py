"""Runs of the rows: load a finished one or train it now; several rows at once, announced before they start."""

import functools
import hashlib
import os
import shlex
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from helpers import cache, datasets, metrics, models, progress
from helpers.datasets.hdf5 import plural
from helpers.device import accelerator, half_precision, hardware
from helpers.experiments import profiles
from helpers.models.weights import cached_file
from helpers.training import loop
from helpers.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    val, test : predicted responses, float32 arrays of shape (n_images, n_neurons), in the units of the file
    object_accuracy : share of val images whose object is named correctly, or None without an object head
    history : list of dict, one an epoch; see loop.fit
    info : dict with name, seed, weights, epochs, n_train, seconds, processes, hardware, date, ...
    folder : where it lies
    held_out : predictions for the held-out fold of the training images, or None
    weights : path of the network's weights, of seed 0, or None
    """

    val: np.ndarray
    test: np.ndarray
    object_accuracy: float | None
    history: list
    info: dict
    folder: Path
    held_out: np.ndarray | None = None
    weights: Path | None = None


def run_all(chosen, dataset, profile, *, held_out_fold=None, seeds=None):
    """Runs of several rows, dict name -> list of Run. Says first how many are still to be trained.

    Every row is built and tried with one image before anything trains. One that fails, then or later, is left out with
    a sentence that names row and tag, and the others go on.

    Parameters
    ----------
    chosen : list of Experiment
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile
    held_out_fold : see `run`
    seeds : number of seeds of every row; None for the profile's, or for those that are there by command where these
        are more. A row to which the profile gives none has no runs, and the command that runs it is printed.
    """
    counts, done = {}, {}
    for experiment in chosen:
        n_seeds = profile.n_seeds(experiment) if seeds is None else seeds
        found = find_readable(experiment, dataset, profile, held_out_fold, say=not n_seeds) if seeds is None else []
        if n_seeds := max(n_seeds, len(found)):
            counts[experiment] = n_seeds
        else:
            print(f"{experiment.name}: not in profile {profile.name!r}; run it by: {command(experiment, dataset)}")
    for experiment in ready(counts, dataset, profile, held_out_fold):
        try:
            done[experiment.name] = [
                run(experiment, dataset, profile, seed=seed, held_out_fold=held_out_fold)
                for seed in range(counts[experiment])
            ]
        except OSError:  # a cache that cannot be written is no fault of the row
            raise
        except Exception as error:  # whatever a network raises, out of memory included
            say_failed(experiment, error)
    return done


def ready(counts, dataset, profile, held_out_fold):
    """Those rows, of a dict experiment -> number of seeds, that are there or whose networks take an image: a list.

    Says of the others why not, and how many runs are there and how many to be trained. How long these take is known
    from their first epochs on, and shown then: it is the machine's affair.
    """
    found, n_left = [], 0
    for experiment, n_seeds in counts.items():
        try:
            data = profile.training_data(experiment, dataset)
            places = [_place(experiment, seed, held_out_fold) for seed in range(n_seeds)]
            folders = [cache.result_folder(data, *place, kind="run") for place in places]
            if left := sum(not (folder / "result.json").exists() for folder in folders):
                model, _ = experiment.build(data, 0)
                loop.predict(model, data.train.images[:1], experiment.inputs.normalisation(data, experiment.backbone))
        except Exception as error:  # whatever a network raises
            say_failed(experiment, error)
            continue
        found.append(experiment)
        n_left += left
    words = f"{n_left} to train whole; the time left of each is measured from its first epoch on"
    n_runs = sum(counts[experiment] for experiment in found)
    print(f"{plural(n_runs, 'run')}, {words if n_left else 'all kept from before'}", flush=True)
    return found


def run(experiment, dataset, profile, *, seed=0, held_out_fold=None):
    """The finished run of one row with one seed: from the cache, else trained now (or trained on, if it was killed).

    Parameters
    ----------
    experiment : Experiment
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile
    seed : int
    held_out_fold : fold of the training images (of `datasets.choosing_folds`) to leave out and predict; None fits
        all of them.

    Returns
    -------
    Run
    """
    dataset = profile.training_data(experiment, dataset)
    place = _place(experiment, seed, held_out_fold)
    folder = cache.result_folder(dataset, *place, kind="run")
    checkpoint = Checkpoint(folder)
    train = functools.partial(_train, experiment, dataset, seed, held_out_fold, checkpoint)
    found = cache.cached(dataset, *place, train, kind="run", together=True)
    checkpoint.remove()
    return Run(**found, folder=folder)


def _train(experiment, dataset, seed, held_out_fold, checkpoint):
    """Train a row now and predict: what the cache keeps of it, a Run's attributes."""
    label = f"{experiment.name}, seed {seed}" + ("" if held_out_fold is None else f", fold {held_out_fold} held out")
    label += f", on {dataset.name}" if dataset.name != dataset.path.stem else ""
    fold, began = None if held_out_fold is None else datasets.fold_of(dataset, held_out_fold), time.monotonic()
    with progress.bar(label, experiment.recipe.epochs) as epochs_done:
        result = loop.fit_row(
            experiment,
            dataset,
            seed=seed,
            fold=fold,
            held_out_score=held_out_score,
            checkpoint=checkpoint,
            progress=lambda done, _, epoch: progress.advance(epochs_done, done, epoch["seconds"]),
        )
    print(
        f"{label}: {plural(experiment.recipe.epochs, 'epoch')} in {time.monotonic() - began:.0f} s "
        f"from {result['info']['weights']} weights",
        flush=True,
    )
    result["info"] |= {
        "name": experiment.name,
        "seed": seed,
        "epochs": len(result["history"]),
        "recipe_epochs": experiment.recipe.epochs,
        "pixels": "x".join(map(str, dataset.images.shape[2:])),
        "n_train": len(dataset.train.images if fold is None else fold[0]),
        "seconds": sum(epoch["seconds"] for epoch in result["history"]),
        "processes": accelerator().num_processes,
        "hardware": hardware(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    return result


def find_all(experiment, dataset, profile, held_out_fold=None):
    """The finished runs of a row that are there, from seed 0 on: list of Run, empty where there is none."""
    dataset, found = profile.training_data(experiment, dataset), []
    while True:
        folder = cache.result_folder(dataset, *_place(experiment, len(found), held_out_fold), kind="run")
        if (result := cache.load(folder)) is None:
            return found
        found.append(Run(**result, folder=folder))


def find_readable(experiment, dataset, profile, held_out_fold=None, *, say=False):
    """`find_all`, and nothing where a row's runs cannot be looked for, as its weights' file is not what it should be.

    say : whether to say so; of a row to train `ready` does
    """
    try:
        return find_all(experiment, dataset, profile, held_out_fold)
    except Exception as error:
        if say:
            say_failed(experiment, error)
        return []


def _place(experiment, seed, held_out_fold):
    """Name, variant and settings of a run, as `cache` finds it by."""
    settings = {
        "experiment": experiment,
        "seed": seed,
        "held_out_fold": held_out_fold,
        "weights": list(weights_of(experiment)),
        "half precision": str(half_precision(accelerator().device)),
    }
    return experiment.name, f"seed{seed}" + ("" if held_out_fold is None else f"-fold{held_out_fold}"), settings


def held_out_score(responses, predictions):
    """Mean explained variance over neurons of held-out training images; NaN of a single image, where nothing varies."""
    if len(responses) < 2:
        return float("nan")
    return float(np.nanmean(metrics.explained_variance(responses, predictions)))


def weights_of(experiment):
    """Source of the weights an experiment starts from, and a digest of those that lie on this disk."""
    if not experiment.pretrained:
        return models.RANDOM, ""
    state, source = models.find_weights(experiment.backbone)
    if state is None and (path := cached_file(experiment.backbone)):
        return source, hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    return source, cache.weights_digest(state or {})


def say_failed(experiment, error):
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    tag = experiment.backbone or "shallow CNN"
    print(f"{experiment.name} ({tag}) failed and is left out, the other rows go on: {reason}", flush=True)


def command(experiment, dataset):
    """The command that runs a row on this data set and in this profile, so that a report finds it."""
    return f"python -m helpers run {experiment.name} --seed 0{data_option(dataset)}{profile_option()}"


def profile_option():
    """By which option a command runs in this profile; nothing for the one that it takes by itself."""
    chosen = os.environ.get("IT_PROFILE")
    return "" if chosen in (None, profiles.default_name()) else f" --profile {chosen}"


def data_option(dataset):
    """By which option a command finds a data set; nothing for the stand-in."""
    if dataset.path == datasets.DATA / "standin.h5":
        return ""
    path = dataset.path.relative_to(cache.ROOT) if dataset.path.is_relative_to(cache.ROOT) else dataset.path
    return f" --data {shlex.quote(str(path))}"
