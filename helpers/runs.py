"""Finished runs: load one or make it; the results table; where figures and tables go.

A run is used again only if data, settings, precision, the weights it starts from and the code that computes it are the
same. Runs lie in `$IT_RUNS`, else data/runs, a folder each; figures and tables in `$IT_OUT`, else figures/<data set>.
A damaged file is set aside with a warning and made again; a folder that cannot be written is refused before any work.
"""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from helpers import datasets, experiments, models, progress, readout, training
from helpers.schema import plural

ROOT = Path(__file__).parents[1]
CODE = ("schema", "pixels", "datasets", "models", "training", "readout", "metrics")
N_FOLDS = 5


def runs_folder():
    return Path(os.environ.get("IT_RUNS") or ROOT / "data" / "runs")


def output_folder(dataset):
    """Where a notebook's figures and tables go; made if need be."""
    folder = Path(os.environ.get("IT_OUT") or ROOT / "figures" / dataset.name)
    make_writable(folder, "IT_OUT")
    return folder


def make_writable(folder, variable):
    """Make a folder if need be and see that it takes files, so that a bad one is known before hours of work.

    variable : the environment variable that names another place. Raises OSError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"{folder}: cannot be written ({error.strerror}); expected ${variable} to name a folder that can."
        ) from error


@functools.cache
def code_hash():
    """Hash of the modules that compute results: a changed comment makes results anew, a changed notebook does not."""
    digest = hashlib.blake2b(digest_size=8)
    for name in CODE:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


def hardware():
    """The machine in a few words, for the tables."""
    if training.accelerator().device.type == "cuda":
        return torch.cuda.get_device_name()
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpu.read_text()) if cpu.exists() else None
    return f"{model[1] if model else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def stamp():
    """Date, code version and hardware, for reports."""
    version = f"hash {code_hash()}"
    git = functools.partial(subprocess.run, cwd=ROOT, capture_output=True, text=True)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # no git, or not a clone
        version = git(["git", "rev-parse", "--short", "HEAD"], check=True).stdout.strip()
        if git(["git", "status", "--porcelain", "helpers", "benchmarks/*.py"], check=True).stdout:
            version += ", changed"
    return f"{datetime.now(UTC):%Y-%m-%d}; code {version}; {hardware()}"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    val, test : predicted responses, float32 arrays of shape (n_images, n_neurons), in the units of the file
    held : predictions for the held-out fold of the training images, or None
    object_accuracy : share of val images whose object is named right, or None without an object head
    history : list of dict, one an epoch; see training.fit
    info : dict with name, seed, weights, epochs, n_train, seconds, processes, hardware, date, ...
    folder : where it lies
    """

    val: np.ndarray
    test: np.ndarray
    held: np.ndarray | None
    object_accuracy: float | None
    history: list
    info: dict
    folder: Path


def run(experiment, dataset, profile, *, seed=0, held_fold=None):
    """The finished run of one row with one seed: from the cache, else trained now (or trained on, if it was killed).

    Parameters
    ----------
    experiment : Experiment
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile
    seed : int
    held_fold : fold of the training images (of `N_FOLDS`, stratified over objects) to leave out and predict; None fits
        all of them.

    Returns
    -------
    Run
    """
    experiment, dataset = profile.limit(experiment, dataset)
    weights, digest = weights_of(experiment)
    settings = {
        "experiment": repr(experiment),
        "data": dataset.fingerprint,
        "seed": seed,
        "held_fold": held_fold,
        "weights": [weights, digest],
        "device": training.accelerator().device.type,
        "half precision": str(training.half_precision(training.accelerator().device)),
        "code": code_hash(),
    }
    label = f"{experiment.name}, seed {seed}" + ("" if held_fold is None else f", fold {held_fold} held out")
    label += f", on {dataset.name}" if dataset.name != dataset.path.stem else ""
    folder = run_folder(
        dataset, experiment.name, f"seed{seed}" + ("" if held_fold is None else f"-fold{held_fold}"), settings
    )
    if found := load(folder):
        return found

    began = time.monotonic()
    model, weights = models.build(experiment, dataset, seed)
    normalisation = experiment.inputs.normalisation(dataset, experiment.trunk)
    fit_index, held_index = None, None
    if held_fold is not None:
        fit_index, held_index = fold_of(dataset, held_fold)
    history = training.fit(
        model,
        dataset,
        experiment.recipe,
        seed=seed,
        normalisation=normalisation,
        pretrained=weights != models.RANDOM,
        label_weight=experiment.label_weight,
        fit_index=fit_index,
        held_index=held_index,
        checkpoint=folder / "checkpoint.pt",
        progress=functools.partial(show_progress, label),
    )
    predictions, accuracy = {}, None
    for role in ("val", "test"):
        predictions[role], logits = training.predict(model, getattr(dataset, role).images, normalisation)
        if role == "val" and logits is not None:
            named = np.array(dataset.object_names)[logits.argmax(1)]
            accuracy = float(np.mean(named == dataset.val.objects))
    if held_index is not None:
        predictions["held"], _ = training.predict(model, dataset.train.images[held_index], normalisation)
    diverged = not all(np.isfinite(predicted).all() for predicted in predictions.values())
    if diverged:  # its predictions are no numbers: scored as the constant that anyone could have predicted
        mean = dataset.train.responses.mean(0)
        predictions = {role: np.broadcast_to(mean, p.shape).copy() for role, p in predictions.items()}
    info = {
        "name": experiment.name,
        "diverged": diverged,
        "seed": seed,
        "weights": weights,
        "epochs": experiment.recipe.epochs,
        "n_train": len(dataset.train.images) if fit_index is None else len(fit_index),
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "seconds": sum(epoch["seconds"] for epoch in history),
        "processes": training.accelerator().num_processes,
        "hardware": hardware(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    result = {"info": info, "object_accuracy": accuracy, "history": history, "settings": settings}
    if training.accelerator().is_main_process:
        training.write_whole(folder / "predictions.npz", lambda path: save_arrays(path, predictions))
        if seed == 0 and held_fold is None:
            state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
            training.write_whole(folder / "weights.safetensors", lambda path: safetensors.torch.save_file(state, path))
        # the last file written: a run without it is not finished
        training.write_whole(folder / "result.json", lambda path: path.write_text(json.dumps(result, indent=1)))
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    training.accelerator().wait_for_everyone()
    print(
        f"{label}: {plural(experiment.recipe.epochs, 'epoch')} in {time.monotonic() - began:.0f} s "
        f"from {weights} weights",
        flush=True,
    )
    return load(folder)


def fold_of(dataset, held_fold):
    """Indices of the training images to fit and to hold out in one of `N_FOLDS` folds, stratified over objects."""
    return datasets.folds(dataset.train.objects, N_FOLDS, seed=0)[held_fold]


def weights_of(experiment):
    """Source of the weights an experiment starts from, and a digest of those that lie on this disk."""
    if not experiment.pretrained:
        return models.RANDOM, ""
    state, source = models.find_weights(experiment.trunk)
    return source, weights_digest(state or {})


def run_folder(dataset, name, variant, settings):
    """The folder of a run, named by its settings; made, and says so where only runs with other settings are there."""
    key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=6).hexdigest()
    parent = runs_folder() / dataset.name / name
    folder = parent / f"{variant}-{key}"
    if not folder.exists() and any(parent.glob(f"{variant}-" + "?" * 12)):
        print(f"{name}: data, settings, weights or code changed since it was last run; made again", flush=True)
    if not any(folder.glob("*.np[yz]")):  # a finished one may lie on a disk that is only read
        make_writable(folder, "IT_RUNS")
    return folder


def save_arrays(path, arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


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
        if info["seed"] == 0 and "held" not in predictions:
            reading = folder / "weights.safetensors"
            with safetensors.safe_open(reading, "pt"):
                pass  # it refuses a file that was cut short
        return Run(predictions["val"], predictions["test"], predictions.get("held"), accuracy, history, info, folder)
    except Exception as error:  # whatever a damaged file raises, the run is made again
        training.set_aside(path, f"{reading.name}: {error}")
        return None


def rebuild(experiment, dataset, state):
    """The trained network from its saved weights (a state dict), on the device, and the normalisation of its inputs."""
    model, _ = models.build(replace(experiment, pretrained=False), dataset, 0)
    model.load_state_dict(state)
    return model.to(training.accelerator().device), experiment.inputs.normalisation(dataset, experiment.trunk)


def show_progress(label, done, epochs, epoch):
    """One line that rewrites itself: epochs done and the time left."""
    left = epoch["seconds"] * (epochs - done)
    print(f"\r{label}: epoch {done} of {epochs}, {left:.0f} s left   ", end="", flush=True)
    if done == epochs:
        print("\r", end="", flush=True)


def run_all(chosen, dataset, profile, *, held_fold=None, seeds=None):
    """Runs of several rows, each with the profile's seeds: dict name -> list of Run. Says first what it will take.

    Rows that the profile leaves out are announced with the command that runs them.
    """
    todo = [experiment for experiment in chosen if profile.runs(experiment)]
    counts = {e.name: seeds or profile.seeds(e) for e in todo}
    minutes, cuts = 0, {}
    for experiment in todo:
        minutes += experiments.minutes(*profile.limit(experiment, dataset)) * counts[experiment.name]
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
            run(experiment, dataset, profile, seed=seed, held_fold=held_fold) for seed in range(counts[experiment.name])
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


def kernels(tag, dataset, *, pretrained=True, layers=None, grid=7, zoom=1.0, summed=False):
    """Gram matrices of a network's layers over all images, dict layer -> array, and the source of the weights.

    Arrays have shape (n_images, n_images). Computed once; later calls map the files. `layers=None` takes
    every block. Maps are averaged to a grid of 7 by 7, with which sums of blocks predicted held-out images best
    (of V4 recordings, by .003 over full features). The network sees images `zoom` times their size. `summed` keeps one
    array, "sum": that of all layers by readout.combine. See readout.gram.
    """
    pixels = tuple(round(side * zoom) for side in dataset.images.shape[2:])
    network, source = models.load_trunk(tag, pixels, pretrained=pretrained)
    layers = readout.default_layers(network) if layers is None else list(layers)
    settings = {
        "kernels": tag,
        "layers": layers,
        "grid": grid,
        "pixels": pixels,
        "summed": summed,
        "weights": weights_digest(network.state_dict()),
        "data": dataset.fingerprint,
        "device": training.accelerator().device.type,
        "code": code_hash(),
    }
    variant = f"kernels-{'pretrained' if source != models.RANDOM else 'random'}-{pixels[0]}x{pixels[1]}"
    folder = run_folder(dataset, tag, variant, settings)
    names = ["sum"] if summed else layers
    paths = {name: folder / f"{i:02d}-{name}.npy" for i, name in enumerate(names)}
    if any(map_array(path) is None for path in paths.values()):
        device, n_train = training.accelerator().device, len(dataset.train.images)
        found = readout.gram(
            network.to(device),
            dataset.images,
            layers,
            normalisation=models.own_normalisation(tag),
            n_train=n_train,
            pixels=None if zoom == 1 else pixels,
            grid=grid,
            progress=functools.partial(
                progress.show, f"{tag} ({source} weights), images through {len(layers)} layers", time.monotonic()
            ),
        )
        if summed:
            found = {"sum": readout.combine(list(found.values()), n_train=n_train)}
        for name, gram in found.items():
            training.write_whole(paths[name], lambda path, gram=gram: save_array(path, gram))
    return {name: map_array(path) for name, path in paths.items()}, source


def map_array(path):
    """The array in a file, mapped, or None; a damaged file is set aside with a warning."""
    if not path.exists():
        return None
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # whatever a damaged file raises, its array is made again
        training.set_aside(path, error)
        return None


def save_array(path, array):
    with path.open("wb") as file:
        np.save(file, array)


def save_test_predictions(path, responses):
    """Write predictions for the test images, array `responses` of shape (n_images, n_neurons), in the file's units."""
    training.write_whole(path, lambda path: save_arrays(path, {"responses": responses.astype(np.float32)}))


def weights_digest(state):
    """Digest of a state dict: names and values."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
