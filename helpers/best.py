"""The best model: chosen on a fold of the training images, fitted to all of them, saved, and loaded again.

Candidates are the readouts, the fine-tuned trunk and means of a readout and the trunk. Val takes no part in the choice.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.torch

from helpers import datasets, experiments, layers, metrics, readout, runs, training

FINE_TUNED = "lite0-repaired"
FOLD = 0


class Candidate(NamedTuple):
    """Parts whose mean is the prediction, and what they predict for the held-out fold: (n_held, n_neurons)."""

    readout: str | None  # name of a readout row
    run: str | None  # name of an experiment
    held: np.ndarray


def candidates(dataset, profile):
    """Dict name -> Candidate, each fitted to the other folds only; and the indices of the held-out training images."""
    _, held_index = datasets.folds(dataset.train.objects, runs.N_FOLDS, seed=0)[FOLD]
    tuned = runs.run(experiments.EXPERIMENTS[FINE_TUNED], dataset, profile, held_fold=FOLD).held
    found = {f"fine-tuned ({FINE_TUNED})": Candidate(None, FINE_TUNED, tuned)}
    for name, row in layers.readout_rows(dataset, profile).items():
        held = row.held[held_index]
        found[name] = Candidate(name, None, held)
        found[f"mean of fine-tuned and {name}"] = Candidate(name, FINE_TUNED, (held + tuned) / 2)
    return found, held_index


def choose(found, responses):
    """Mean explained variance of every candidate on the held-out images, best first: dict name -> score.

    responses : array of shape (n_held, n_neurons)
    """
    scores = {name: np.nanmean(metrics.explained_variance(responses, c.held)) for name, c in found.items()}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def save(folder, name, candidate, dataset, profile):
    """Fit the chosen candidate to all training images and write it to a folder.

    `model.json` names its parts; `readout.npz` holds the dual weights (n_train, n_neurons) of the readout, which with
    the layers' Gram matrices give predictions; `fine_tuned.safetensors` the trunk's weights.
    """
    folder = Path(folder)
    description = {
        "name": name,
        "readout": candidate.readout,
        "run": candidate.run,
        "data": dataset.fingerprint,
        "profile": profile.name,
        "chosen_on": f"fold {FOLD} of the training images",
    }
    if candidate.readout:
        n_train = len(dataset.train.images)
        K = layers.row_kernel(candidate.readout, dataset, profile)
        K = readout.scale(readout.centre(K, n_train), n_train)[:n_train, :n_train]
        responses = dataset.train.responses
        alpha = readout.ridge(K, responses, folds=layers.choosing_folds(dataset)).alpha
        mean = responses.mean(0, dtype=np.float64)
        arrays = {"dual_weights": readout.dual_weights(K, responses - mean, alpha), "mean": mean, "alpha": alpha}
        training.write_whole(folder / "readout.npz", lambda path: runs.save_arrays(path, arrays))
    if candidate.run:
        finished = runs.run(experiments.EXPERIMENTS[candidate.run], dataset, profile)
        weights = finished.folder / "weights.safetensors"
        training.write_whole(folder / "fine_tuned.safetensors", lambda path: shutil.copyfile(weights, path))
    training.write_whole(folder / "model.json", lambda path: path.write_text(json.dumps(description, indent=1)))


def predict(folder, dataset, profile):
    """Load the saved model and predict: dict 'val', 'test' -> array of shape (n_images, n_neurons).

    Raises ValueError if the model was fitted to other data.
    """
    folder = Path(folder)
    description = json.loads((folder / "model.json").read_text())
    if description["data"] != dataset.fingerprint:
        raise ValueError(f"{folder}: fitted to other data than {dataset.path}")
    n_train, n_val = len(dataset.train.images), len(dataset.val.images)
    parts = []
    if description["readout"]:
        with np.load(folder / "readout.npz", allow_pickle=False) as arrays:
            K = layers.row_kernel(description["readout"], dataset, profile)
            K = readout.scale(readout.centre(K, n_train), n_train)[n_train:, :n_train]
            predicted = K @ arrays["dual_weights"] + arrays["mean"]
        parts.append({"val": predicted[:n_val], "test": predicted[n_val:]})
    if description["run"]:
        experiment, dataset = profile.limit(experiments.EXPERIMENTS[description["run"]], dataset)
        state = safetensors.torch.load_file(folder / "fine_tuned.safetensors")
        model, normalisation = runs.rebuild(experiment, dataset, state)
        parts.append(
            {
                role: training.predict(model, getattr(dataset, role).images, normalisation)[0].astype(np.float64)
                for role in ("val", "test")
            }
        )
    return {role: np.mean([part[role] for part in parts], axis=0) for role in ("val", "test")}
