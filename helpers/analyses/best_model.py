"""The best model: chosen on a fold of the training images, fitted to all of them, saved, and loaded again.

Candidates are the readouts, the fine-tuned network, the located readout of its backbone in the place of its own heads,
and means of a frozen and a fine-tuned one. In a fold everything, tuning included, is made anew. Val takes no part.
"""

import itertools
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
from helpers.readout import receptive_fields, regression
from helpers.training import loop

# Not the one that the recipes' rates were chosen on, which would favour fine-tuned candidates. What readouts offer
# (masks and widths; layer_profile's sizes and stages; networks that count the same) was chosen on all folds
# of the stand-in and of V4, and is favoured on these two.
FOLD = 1
LEARNED = ("dual", "alpha", "masks", "weights", "bandwidth")  # fields of a fitted readout that are saved


class Candidate(NamedTuple):
    """Parts whose mean is the prediction, and what they predict for the held-out fold: (n_held_out, n_neurons)."""

    readout: str | None  # name of a readout row
    run: str | None  # name of an experiment
    held_out: np.ndarray
    located: bool = False  # whether the located readout takes the place of the run's own heads


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
    folded = runs.run_all(fine_tuned(dataset, profile), dataset, profile, held_out_fold=FOLD, seeds=1)
    for name, (finished,) in folded.items():
        experiment = EXPERIMENTS[name]
        tuned = {
            name: Candidate(None, name, finished.held_out),
            f"{name}, located": Candidate(
                None, name, frozen_networks.tuned_held_out(experiment, dataset, profile, FOLD), True
            ),
        }
        found |= tuned
        for (words, part), (row_name, row) in itertools.product(tuned.items(), rows.items()):
            mean = (row.held_out[held_out_index] + part.held_out) / 2
            found[f"mean of {words} and {row_name}"] = Candidate(row_name, name, mean, part.located)
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
    the layers' Gram matrices give predictions (a located one's masks, and dual weights for each, see
    receptive_fields.Located); `fine_tuned.safetensors` the network's weights, and `tuned_readout.npz` the located
    readout of its backbone.
    """
    folder = Path(folder)
    spec = frozen_networks.specs(dataset, profile)[candidate.readout] if candidate.readout else None
    fitted = frozen_networks.fitted(spec, dataset) if spec else None
    description = {
        "name": name,
        "readout": candidate.readout,
        "run": candidate.run,
        "located": candidate.located,
        "kernels": frozen_networks.kernel_files(spec) if spec else [],
        "data": dataset.fingerprint,
        "profile": profile.name,
        "code": cache.code_hash("readout"),
        "chosen_on": f"fold {FOLD} of the training images",
    }
    if fitted:
        _save_readout(folder / "readout.npz", fitted, dataset)
    if candidate.run:
        finished = runs.run(EXPERIMENTS[candidate.run], dataset, profile)
        weights = finished.folder / "weights.safetensors"
        cache.write_whole(folder / "fine_tuned.safetensors", lambda path: shutil.copyfile(weights, path))
        if candidate.located:
            stack = frozen_networks.tuned_stack(EXPERIMENTS[candidate.run], weights, dataset, profile)
            _save_readout(folder / "tuned_readout.npz", receptive_fields.ridge(stack, dataset.train.responses), dataset)
    cache.write_whole(
        folder / "model.json", lambda path: path.write_text(json.dumps(description, indent=1), encoding="utf-8")
    )


def _save_readout(path, fitted, dataset):
    arrays = {"mean": dataset.train.responses.mean(0, dtype=np.float64)}
    arrays |= {name: getattr(fitted, name) for name in LEARNED if name in fitted._fields}
    cache.save_arrays(path, arrays)


def _predict_readout(path, K):
    """Predictions for the images after the training images, by what `_save_readout` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        learned = [arrays["dual"], arrays["mean"]]
        if "masks" in arrays:
            return receptive_fields.predict(K, arrays["masks"], *learned, bandwidth=float(arrays["bandwidth"]))
        return regression.predict(K, *learned)


def predict(folder, dataset, profile):
    """Load the saved model and predict: dict 'val', 'test' -> array of shape (n_images, n_neurons).

    Raises ValueError if the model was fitted to other data, or its readout to other layers.
    """
    folder = Path(folder)
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    if description["data"] != dataset.fingerprint:
        raise ValueError(f"{folder}: fitted to other data than {dataset.path}")
    made = {"profile": profile.name, "code": cache.code_hash("readout")}
    if any(description[key] != value for key, value in made.items()):
        raise ValueError(f"{folder}: fitted in another profile, or by other code, than are here")
    n_val, parts = len(dataset.val.images), []
    if description["readout"]:
        spec = frozen_networks.specs(dataset, profile).get(description["readout"])
        if spec is None or description["kernels"] != frozen_networks.kernel_files(spec):
            raise ValueError(f"{folder}: its readout was fitted to other layers, weights or code than are here")
        parts.append(_predict_readout(folder / "readout.npz", frozen_networks.kernel(spec, dataset)))
    if description["run"]:
        experiment, weights = EXPERIMENTS[description["run"]], folder / "fine_tuned.safetensors"
        if description["located"]:
            stack = frozen_networks.tuned_stack(experiment, weights, dataset, profile)
            parts.append(_predict_readout(folder / "tuned_readout.npz", stack))
        else:
            data = profile.training_data(experiment, dataset)
            model, normalisation = runs.rebuild(experiment, data, safetensors.torch.load_file(weights))
            others = np.concatenate([data.val.images, data.test.images])
            parts.append(loop.predict(model, others, normalisation)[0].astype(np.float64))
    predicted = np.mean(parts, axis=0)
    return {"val": predicted[:n_val], "test": predicted[n_val:]}
