"""Runs of the rows: load a finished one or train it now; several rows at once, announced before they start."""

import functools
import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import safetensors.torch

from helpers import cache, datasets, models
from helpers.datasets.hdf5 import plural
from helpers.device import accelerator, half_precision
from helpers.experiments import profiles
from helpers.training import loop


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
    dataset = profile.training_data(experiment, dataset)
    settings, folder = _place(experiment, dataset, seed, held_out_fold)
    if found := load(folder):
        return found
    label = f"{experiment.name}, seed {seed}" + ("" if held_out_fold is None else f", fold {held_out_fold} held out")
    label += f", on {dataset.name}" if dataset.name != dataset.path.stem else ""

    began = time.monotonic()
    model, weights = models.build(experiment, dataset, seed)
    normalisation = experiment.inputs.normalisation(dataset, experiment.backbone)
    fit_index, held_out_index = None, None
    if held_out_fold is not None:
        fit_index, held_out_index = fold_of(dataset, held_out_fold)
    history = loop.fit(
        model,
        dataset,
        experiment.recipe,
        seed=seed,
        normalisation=normalisation,
        pretrained=weights != models.RANDOM,
        label_weight=experiment.label_weight,
        fit_index=fit_index,
        held_out_index=held_out_index,
        checkpoint=folder / "checkpoint.pt",
        progress=functools.partial(_show_progress, label),
    )
    predictions, accuracy = {}, None
    for role in ("val", "test"):
        predictions[role], logits = loop.predict(model, getattr(dataset, role).images, normalisation)
        if role == "val" and logits is not None:
            named = np.array(dataset.object_names)[logits.argmax(1)]
            accuracy = float(np.mean(named == dataset.val.objects))
    if held_out_index is not None:
        predictions["held_out"], _ = loop.predict(model, dataset.train.images[held_out_index], normalisation)
    diverged = not all(np.isfinite(predicted).all() for predicted in predictions.values())
    if diverged:  # its predictions are no numbers: scored as the constant that anyone could have predicted
        mean = dataset.train.responses.mean(0)
        predictions = {role: np.broadcast_to(mean, p.shape).copy() for role, p in predictions.items()}
    info = {
        "name": experiment.name,
        "diverged": diverged,
        "seed": seed,
        "weights": weights,
        "epochs": len(history),
        "recipe_epochs": experiment.recipe.epochs,
        "pixels": "x".join(map(str, dataset.images.shape[2:])),
        "n_train": len(dataset.train.images) if fit_index is None else len(fit_index),
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "seconds": sum(epoch["seconds"] for epoch in history),
        "processes": accelerator().num_processes,
        "hardware": cache.hardware(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    result = {"info": info, "object_accuracy": accuracy, "history": history, "settings": settings}
    if accelerator().is_main_process:
        cache.write_whole(folder / "predictions.npz", lambda path: cache.save_arrays(path, predictions))
        if seed == 0 and held_out_fold is None:
            state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
            cache.write_whole(folder / "weights.safetensors", lambda path: safetensors.torch.save_file(state, path))
        # the last file written: a run without it is not finished
        cache.write_whole(folder / "result.json", lambda path: path.write_text(json.dumps(result, indent=1)))
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    accelerator().wait_for_everyone()
    print(
        f"{label}: {plural(experiment.recipe.epochs, 'epoch')} in {time.monotonic() - began:.0f} s "
        f"from {weights} weights",
        flush=True,
    )
    return load(folder)


def _place(experiment, dataset, seed, held_out_fold):
    """Settings of a run, which make its key, and its folder. dataset : as `Profile.training_data` returned it."""
    weights, digest = weights_of(experiment)
    settings = {
        "experiment": repr(experiment),
        "data": dataset.fingerprint,
        "seed": seed,
        "held_out_fold": held_out_fold,
        "weights": [weights, digest],
        "device": accelerator().device.type,
        "half precision": str(half_precision(accelerator().device)),
        "code": cache.code_hash(),
    }
    variant = f"seed{seed}" + ("" if held_out_fold is None else f"-fold{held_out_fold}")
    return settings, cache.run_folder(dataset, experiment.name, variant, settings)


def find_all(experiment, dataset, profile, held_out_fold=None):
    """The finished runs of a row that are there, from seed 0 on: list of Run, empty where there is none."""
    dataset, found = profile.training_data(experiment, dataset), []
    while run := load(_place(experiment, dataset, len(found), held_out_fold)[1]):
        found.append(run)
    return found


def fold_of(dataset, held_out_fold):
    """Indices of the training images to fit and to hold out, in a fold stratified over objects."""
    return datasets.folds(dataset.train.objects, datasets.N_FOLDS, seed=0)[held_out_fold]


def weights_of(experiment):
    """Source of the weights an experiment starts from, and a digest of those that lie on this disk."""
    if not experiment.pretrained:
        return models.RANDOM, ""
    state, source = models.find_weights(experiment.backbone)
    return source, cache.weights_digest(state or {})


def load(folder):
    """The finished run in a folder, or None; damaged files are set aside with a warning."""
    reading = path = folder / "result.json"
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text())
        reading = folder / "predictions.npz"
        with np.load(reading, allow_pickle=False) as arrays:
            predictions = {name: arrays[name] for name in arrays.files}
        accuracy, history, info = result["object_accuracy"], result["history"], result["info"]
        if info["seed"] == 0 and "held_out" not in predictions:
            reading = folder / "weights.safetensors"
            with safetensors.safe_open(reading, "pt"):
                pass  # it refuses a file that was cut short
        return Run(
            predictions["val"], predictions["test"], predictions.get("held_out"), accuracy, history, info, folder
        )
    except Exception as error:  # whatever a damaged file raises, the run is made again
        cache.set_aside(path, f"{reading.name}: {error}")
        return None


def rebuild(experiment, dataset, state):
    """The trained network from its saved weights (a state dict), on the device, and the normalisation of its inputs."""
    model, _ = models.build(replace(experiment, pretrained=False), dataset, 0)
    model.load_state_dict(state)
    return model.to(accelerator().device), experiment.inputs.normalisation(dataset, experiment.backbone)


def _show_progress(label, done, epochs, epoch):
    """One line that rewrites itself: epochs done and the time left."""
    left = epoch["seconds"] * (epochs - done)
    print(f"\r{label}: epoch {done} of {epochs}, {left:.0f} s left   ", end="", flush=True)
    if done == epochs:
        print("\r", end="", flush=True)


def run_all(chosen, dataset, profile, *, held_out_fold=None, seeds=None):
    """Runs of several rows, dict name -> list of Run. Says first what it will take.

    Parameters
    ----------
    chosen : list of Experiment
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile
    held_out_fold : see `run`
    seeds : number of seeds of every row; None for the profile's. A row to which the profile gives none has no runs, and
        the command that runs it is printed; once that has run, its runs are found here.
    """
    counts, done = {}, {}
    for experiment in chosen:
        counts[experiment.name] = profile.n_seeds(experiment) if seeds is None else seeds
        if counts[experiment.name] == 0 and (found := find_all(experiment, dataset, profile, held_out_fold)):
            done[experiment.name] = found
    todo = [experiment for experiment in chosen if counts[experiment.name]]
    for experiment in chosen:
        if experiment not in todo and experiment.name not in done:
            print(f"{experiment.name}: not in profile {profile.name!r}; run it by: {command(experiment, dataset)}")
    minutes = 0
    for experiment in todo:
        data = profile.training_data(experiment, dataset)
        minutes += profiles.minutes(experiment, data) * counts[experiment.name]
    n_runs = plural(sum(counts.values()), "run")
    words = "about {:.0f} min on two idle CPU cores, less on a GPU, none for runs kept from before"
    print(f"{n_runs}, whole epochs: {words.format(minutes)}", flush=True)
    for experiment in todo:
        done[experiment.name] = [
            run(experiment, dataset, profile, seed=seed, held_out_fold=held_out_fold)
            for seed in range(counts[experiment.name])
        ]
    return done


def size_words(experiment, dataset, profile):
    """What a row is trained on, in words."""
    data = profile.training_data(experiment, dataset)
    size = "x".join(map(str, data.images.shape[2:]))
    return f"{plural(experiment.recipe.epochs, 'epoch')} of {plural(len(data.train.images), 'image')} of {size} pixels"


def command(experiment, dataset):
    data = "" if dataset.is_standin else f" --data {dataset.path}"
    return f"python -m helpers run {experiment.name} --seed 0{data}"
