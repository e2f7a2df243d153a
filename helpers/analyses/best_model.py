"""The best model: chosen on a fold of the training images, fitted to all of them, saved, and loaded again.

Candidates are the readouts, the fine-tuned backbone and means of a readout and the backbone. Val takes no part in the
choice.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.torch

from helpers import cache, metrics, models
from helpers.analyses import frozen_networks
from helpers.experiments import runs
from helpers.experiments.rows import EXPERIMENTS
from helpers.readout import located, regression
from helpers.training import loop

# Not the one that the recipes' rates were chosen on, which would favour fine-tuned candidates. What readouts offer
# (located's masks and widths; layer_profile's sizes and stages; networks that count the same) was chosen on all folds
# of the stand-in and of V4, and is favoured on these two.
FOLD = 1
LEARNED = ("dual", "alpha", "masks", "weights", "bandwidth")  # fields of a fitted readout that are saved


class Candidate(NamedTuple):
    """Parts whose mean is the prediction, and what they predict for the held-out fold: (n_held_out, n_neurons)."""

    readout: str | None  # name of a readout row
    run: str | None  # name of an experiment
    held_out: np.ndarray


def fine_tuned(dataset, profile):
    """The stage-2 rows that may take part: repaired, in the profile, from pretrained weights."""
    rows = [e for e in EXPERIMENTS.values() if e.stage == 2 and e.repaired and profile.n_seeds(e)]
    return [e for e in rows if runs.weights_of(e)[0] != models.RANDOM]


def candidates(dataset, profile):
    """Dict name -> Candidate, each fitted to the other folds only; and the indices of the held-out training images.

    The best single block is no candidate, as all folds took part in naming it.
    """
    _, held_out_index = runs.fold_of(dataset, FOLD)
    rows = {name: row for name, row in frozen_networks.rows(dataset, profile).items() if "single" not in name}
    found = {name: Candidate(name, None, row.held_out[held_out_index]) for name, row in rows.items()}
    for experiment in fine_tuned(dataset, profile):
        tuned = runs.run(experiment, dataset, profile, held_out_fold=FOLD).held_out
        found[experiment.name] = Candidate(None, experiment.name, tuned)
        for name, row in rows.items():
            mean = (row.held_out[held_out_index] + tuned) / 2
            found[f"mean of {experiment.name} and {name}"] = Candidate(name, experiment.name, mean)
    return found, held_out_index


def choose(found, responses):
    """Mean explained variance of every candidate on the held-out images, best first: dict name -> score.

    responses : array of shape (n_held_out, n_neurons)
    """
    scores = {name: np.nanmean(metrics.explained_variance(responses, c.held_out)) for name, c in found.items()}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def save(folder, name, candidate, dataset, profile):
    """Fit the chosen candidate to all training images and write it to a folder.

    `model.json` names its parts; `readout.npz` holds the dual weights (n_train, n_neurons) of the readout, which with
    the layers' Gram matrices give predictions (a located one's masks, and dual weights for each, see located.Located);
    `fine_tuned.safetensors` the backbone's weights.
    """
    folder = Path(folder)
    spec = frozen_networks.specs(dataset, profile)[candidate.readout] if candidate.readout else None
    fitted = frozen_networks.fitted(spec, dataset) if spec else None
    description = {
        "name": name,
        "readout": candidate.readout,
        "run": candidate.run,
        "kernels": frozen_networks.kernel_files(spec) if spec else [],
        "data": dataset.fingerprint,
        "profile": profile.name,
        "chosen_on": f"fold {FOLD} of the training images",
    }
    if fitted:
        names = [name for name in LEARNED if name in fitted._fields]
        arrays = {"mean": dataset.train.responses.mean(0, dtype=np.float64)}
        arrays |= {name: getattr(fitted, name) for name in names}
        cache.write_whole(folder / "readout.npz", lambda path: cache.save_arrays(path, arrays))
    if candidate.run:
        finished = runs.run(EXPERIMENTS[candidate.run], dataset, profile)
        weights = finished.folder / "weights.safetensors"
        cache.write_whole(folder / "fine_tuned.safetensors", lambda path: shutil.copyfile(weights, path))
    cache.write_whole(
        folder / "model.json", lambda path: path.write_text(json.dumps(description, indent=1), encoding="utf-8")
    )


def predict(folder, dataset, profile):
    """Load the saved model and predict: dict 'val', 'test' -> array of shape (n_images, n_neurons).

    Raises ValueError if the model was fitted to other data, or its readout to other layers.
    """
    folder = Path(folder)
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if description["data"] != dataset.fingerprint:
        raise ValueError(f"{folder}: fitted to other data than {dataset.path}")
    n_val, parts = len(dataset.val.images), []
    if description["readout"]:
        spec = frozen_networks.specs(dataset, profile).get(description["readout"])
        if spec is None or description["kernels"] != frozen_networks.kernel_files(spec):
            raise ValueError(f"{folder}: its readout was fitted to other layers, weights or code than are here")
        with np.load(folder / "readout.npz", allow_pickle=False) as arrays:
            K, learned = frozen_networks.kernel(spec, dataset), [arrays["dual"], arrays["mean"]]
            if "masks" in arrays:
                predicted = located.predict(K, arrays["masks"], *learned, bandwidth=float(arrays["bandwidth"]))
            else:
                predicted = regression.predict(K, *learned)
        parts.append({"val": predicted[:n_val], "test": predicted[n_val:]})
    if description["run"]:
        experiment = EXPERIMENTS[description["run"]]
        dataset = profile.training_data(experiment, dataset)
        state = safetensors.torch.load_file(folder / "fine_tuned.safetensors")
        model, normalisation = runs.rebuild(experiment, dataset, state)
        parts.append(
            {
                role: loop.predict(model, getattr(dataset, role).images, normalisation)[0].astype(np.float64)
                for role in ("val", "test")
            }
        )
    return {role: np.mean([part[role] for part in parts], axis=0) for role in ("val", "test")}
