"""The best model: chosen on a fold of the training images and fitted to all of them.

Candidates are the readouts, the fine-tuned network, the located readout of its backbone in the place of its own heads,
and means of a frozen and a fine-tuned one. In a fold everything, tuning included, is made anew. Val takes no part.
What is saved predicts any images: see saved_model.py.
"""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers import datasets, models
from helpers.analyses import frozen_networks, layer_profile
from helpers.experiments import runs
from helpers.experiments.rows import EXPERIMENTS
from helpers.experiments.saved_model import PIXELS, Model, frozen_view
from helpers.readout import new_images, receptive_fields

# Not the one that the recipes' rates were chosen on, which would favour fine-tuned candidates. What readouts offer
# (masks and widths; the second size; stages of plain sums; networks that count the same) was chosen on all folds
# of the stand-in and of V4, and is favoured on these two; networks that come with no package are chosen on all folds of
# the data at hand (frozen_networks.kept), which favours their sums.
FOLD = 1


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
        if finished.info["diverged"]:
            continue
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

    Where a single image is held out there is no score, and the first candidate is taken.

    responses : array of shape (n_held_out, n_neurons)
    """
    scores = {name: runs.held_out_score(responses, c.held_out) for name, c in found.items()}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def fit(name, candidate, dataset, profile):
    """The chosen candidate fitted to all training images: a Model, with its predictions for val and test.

    What is in the cache is used: no network sees an image again that it has seen there.
    """
    parts, predictions = [], []
    for made in (_frozen, _tuned):
        part, predicted = made(candidate, dataset, profile)
        if part is not None:
            parts.append(part)
            predictions.append(predicted.astype(np.float64))
    description = {
        "name": name,
        "readout": candidate.readout,
        "run": candidate.run,
        "data": dataset.fingerprint,
        "profile": profile.name,
        "chosen on": f"fold {FOLD} of the training images",
    }
    val, test = np.split(np.mean(predictions, axis=0), [len(dataset.val.images)])
    return Model(description, parts, dataset.images[:0], {"val": val, "test": test})


def _frozen(candidate, dataset, profile):
    """The readout of frozen networks in a candidate, and its predictions; (None, None) where it has none."""
    if candidate.readout is None:
        return None, None
    spec = frozen_networks.specs(dataset, profile)[candidate.readout]
    K, responses = frozen_networks.kernel(spec, dataset), dataset.train.responses
    fitted = spec.fit(K, responses, folds=datasets.choosing_folds(dataset))
    made = (K, fitted, dataset.train.images, responses, _views(spec, dataset))
    if spec.fit is receptive_fields.ridge:
        return new_images.located(*made, blur=layer_profile.BLUR), fitted.predictions
    return new_images.linear(*made), fitted.predictions


def _views(spec, dataset):
    """How networks saw the images of a RowSpec's Gram matrices: a list of View, from what lies beside their files."""
    size, plain = list(dataset.images.shape[2:]), [[0.0] * 3, [1.0] * 3]
    if spec.kernels is None:
        return [frozen_view(PIXELS, "", [""], layer_profile.PIXEL_SIDE, size, plain)]
    folders = {}
    for path in (Path(K.filename) for group in spec.kernels for K in group):
        folders.setdefault(path.parent, []).append(path.stem.partition("-")[2])
    found = []
    for folder, layers in folders.items():
        seen = json.loads((folder / "result.json").read_text(encoding="utf-8"))["made"]["settings"]
        tag, layers = seen["kernels"], seen["layers"] if seen["form"] else layers
        normalisation = seen["normalisation"]["mean"], seen["normalisation"]["sd"]
        source = models.RANDOM if folder.name.startswith("kernels-random") else models.find_weights(tag)[1]
        found.append(frozen_view(tag, source, layers, seen["grid"], seen["pixels"], normalisation))
    return found


def _tuned(candidate, dataset, profile):
    """The fine-tuned network in a candidate, or its backbone's located readout, and its predictions."""
    if candidate.run is None:
        return None, None
    experiment = EXPERIMENTS[candidate.run]
    finished = runs.run(experiment, dataset, profile)
    tuned, data = frozen_networks.tuned_network(experiment, finished, dataset, profile)
    if not candidate.located:
        return tuned, np.concatenate([finished.val, finished.test])
    views = tuned.views()
    stack = layer_profile.by_place(views, data)
    fitted = receptive_fields.ridge(stack, data.train.responses)
    made = (stack, fitted, data.train.images, data.train.responses, views)
    return replace(new_images.located(*made, blur=layer_profile.BLUR), tuned=tuned), fitted.predictions
