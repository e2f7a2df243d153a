"""Runs of the rows: load a finished one or train it now; several rows at once, announced before they start."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers import cache, metrics, models, progress
from helpers.datasets.hdf5 import plural
from helpers.device import accelerator, half_precision
from helpers.experiments import checkpoints, fitting, profiles
from helpers.experiments.fitting import fold_of as fold_of
from helpers.experiments.fitting import rebuild as rebuild


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    val, test : predicted responses, float32 arrays of shape (n_images, n_neurons), in the units of the file
    held_out : predictions for the held-out fold of the training images, or None
    object_accuracy : share of val images whose object is named correctly, or None without an object head
    history : list of dict, one an epoch; see loop.fit
    info : dict with name, seed, weights, epochs, n_train, seconds, processes, hardware, date, ...
    folder : where it lies
    """

    val: np.ndarray
    test: np.ndarray
    held_out: np.ndarray | None
    object_accuracy: float | None
    history: list
    info: dict
    folder: Path


def run(experiment, dataset, profile, *, seed=0, held_out_fold=None):
    """The finished run of one row with one seed: from the cache, else trained now (or trained on, if it was killed).

    Parameters
    ----------
    experiment : Experiment
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile
    seed : int
    held_out_fold : fold of the training images (of `datasets.N_FOLDS`, stratified over objects) to leave out and
        predict; None fits all of them.

    Returns
    -------
    Run
    """
    experiment, dataset = profile.limit(experiment, dataset)
    weights, digest = weights_of(experiment)
    settings = {
        "experiment": experiment,
        "seed": seed,
        "held_out_fold": held_out_fold,
        "weights": [weights, digest],
        "half precision": str(half_precision(accelerator().device)),
    }
    label = f"{experiment.name}, seed {seed}" + ("" if held_out_fold is None else f", fold {held_out_fold} held out")
    label += f", on {dataset.name}" if dataset.name != dataset.path.stem else ""
    place = (experiment.name, f"seed{seed}" + ("" if held_out_fold is None else f"-fold{held_out_fold}"), settings)
    folder = cache.result_folder(dataset, *place, kind="run")
    checkpoint = checkpoints.Checkpoint(folder)

    def compute():
        began = time.monotonic()
        with progress.bar(label, experiment.recipe.epochs) as epochs_done:

            def after_epoch(done, epochs, epoch):
                progress.advance(epochs_done, done)
                checkpoint.keep()

            result = fitting.fit_row(
                experiment,
                dataset,
                seed=seed,
                held_out_fold=held_out_fold,
                checkpoint=checkpoint.take_up(),
                progress=after_epoch,
                held_out_score=held_out_score,
            )
        print(
            f"{label}: {plural(experiment.recipe.epochs, 'epoch')} in {time.monotonic() - began:.0f} s "
            f"from {result['info']['weights']} weights",
            flush=True,
        )
        return result

    found = cache.cached(dataset, *place, compute, kind="run", together=True)
    checkpoint.remove()
    values = (found["object_accuracy"], found["history"], found["info"])
    return Run(found["val"], found["test"], found.get("held_out"), *values, folder)


def held_out_score(responses, predictions):
    """Mean explained variance over neurons of held-out training images, for the curve of a run."""
    return float(np.nanmean(metrics.explained_variance(responses, predictions)))


def weights_of(experiment):
    """Source of the weights an experiment starts from, and a digest of those that lie on this disk."""
    if not experiment.pretrained:
        return models.RANDOM, ""
    state, source = models.find_weights(experiment.backbone)
    return source, cache.weights_digest(state or {})


def run_all(chosen, dataset, profile, *, held_out_fold=None, seeds=None):
    """Runs of several rows, each with the profile's seeds: dict name -> list of Run. Says first what it will take.

    Rows that the profile leaves out are announced with the command that runs them.
    """
    todo = [experiment for experiment in chosen if profile.runs(experiment)]
    counts = {e.name: seeds or profile.seeds(e) for e in todo}
    minutes, cuts = 0, {}
    for experiment in todo:
        minutes += profiles.minutes(*profile.limit(experiment, dataset)) * counts[experiment.name]
        cuts.setdefault(cut_words(experiment, dataset, profile), []).append(experiment.name)
    for experiment in chosen:
        if experiment not in todo:
            print(f"{experiment.name}: left out of profile {profile.name!r}; run it by: {command(experiment, dataset)}")
    for words, names in cuts.items():
        print(f"{words}: {', '.join(names)}", flush=True)
    n_runs = plural(sum(counts.values()), "run")
    words = "about {:.0f} min on two idle CPU cores, less on a GPU, none for runs kept from before"
    print(f"{n_runs}: {words.format(minutes)}", flush=True)
    done = {}
    for experiment in todo:
        done[experiment.name] = [
            run(experiment, dataset, profile, seed=seed, held_out_fold=held_out_fold)
            for seed in range(counts[experiment.name])
        ]
    return done


def cut_words(experiment, dataset, profile):
    """What a profile cuts of an experiment, in words."""
    limited, cut = profile.limit(experiment, dataset)
    size = "x".join(map(str, cut.images.shape[2:]))
    epochs = f"{limited.recipe.epochs} of {plural(experiment.recipe.epochs, 'epoch')}"
    return f"profile {profile.name!r}: {epochs}, {plural(len(cut.train.images), 'image')} of {size}"


def command(experiment, dataset):
    data = "" if dataset.is_standin else f" --data {dataset.path}"
    return f"python -m helpers run {experiment.name} --seed 0 --profile full{data}"
