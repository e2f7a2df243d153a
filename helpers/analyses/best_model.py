"""The best model: chosen on a fold of the training images and fitted to all of them.

Candidates are the readouts, every fine-tuned network, the located readout of its backbone in the place of its own
heads, all of these together, and means of a readout and fine-tuned ones. In a fold everything, tuning included, is made
anew but what FOLD names. Val takes no part. What is saved predicts any images: see saved_model.py.

Every part of a mean counts the same. By folds 3 and 4 of V4 recordings (179 images, one seed) weights matter little:
the readout and three tuned networks .459, and .455 where the readout counts as much as these together.
"""

import itertools
from typing import NamedTuple

import numpy as np

from helpers import datasets, models
from helpers.analyses import frozen_networks, layer_profile
from helpers.experiments import runs, saved_model
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.readout import new_images, receptive_fields
from helpers.readout.features import at_two_sizes

# Not the one that the recipes' rates were chosen on, which would favour fine-tuned candidates. What readouts offer
# (masks, widths, output stage; the second size; stages of plain sums; networks that count the same) was chosen on all
# folds of the stand-in and of V4, and is favoured on these two. On all folds of the data at hand are chosen the blur of
# located readouts (layer_profile.best_blur) and networks that come with no package (frozen_networks.kept).
FOLD = 1


class Candidate(NamedTuple):
    """Parts whose mean is the prediction, and what they predict for the held-out fold: (n_held_out, n_neurons)."""

    readout: str | None  # name of a readout row
    runs: tuple[str, ...]  # names of experiments
    held_out: np.ndarray
    located: bool = False  # whether the located readout takes the place of the runs' own heads


def fine_tuned(dataset, profile):
    """The stage-2 rows that may take part: repaired, from pretrained weights, in the profile or there by command."""
    rows = [e for e in EXPERIMENTS.values() if e.stage == 2 and e.repaired]
    rows = [e for e in rows if profile.n_seeds(e) or runs.find_readable(e, dataset, profile)]
    return [e for e in rows if runs.weights_of(e)[0] != models.RANDOM]


def candidates(dataset, profile, *, fold=FOLD, tuned=None):
    """Dict name -> Candidate, each fitted to the other folds only; and the indices of the held-out training images.

    The best single block is no candidate, as all folds took part in naming it. tuned : rows, `fine_tuned`'s if None
    """
    _, held_out_index = datasets.fold_of(dataset, fold)
    rows = {name: row for name, row in frozen_networks.rows(dataset, profile).items() if "single" not in name}
    found = {name: Candidate(name, (), row.held_out[held_out_index]) for name, row in rows.items()}
    of_tuned = _tuned_candidates(dataset, profile, fold, fine_tuned(dataset, profile) if tuned is None else tuned)
    found |= of_tuned
    for (words, part), (row_name, row) in itertools.product(of_tuned.items(), rows.items()):
        n_runs = len(part.runs)
        mean = (row.held_out[held_out_index] + n_runs * part.held_out) / (1 + n_runs)
        found[f"mean of {words} and {row_name}"] = Candidate(row_name, part.runs, mean, part.located)
    return found, held_out_index


def _tuned_candidates(dataset, profile, fold, rows):
    """The fine-tuned candidates without a readout: every row by its own heads, and located; all located ones."""
    found, whole = {}, {}
    for name, folded in runs.run_all(rows, dataset, profile, held_out_fold=fold, seeds=1).items():
        of_all = runs.find_all(EXPERIMENTS[name], dataset, profile)[:1]  # where it diverged there, it is no model
        if not any(run.info["diverged"] for run in folded + of_all):
            (whole[name],) = folded
    for name, finished in whole.items():
        located = frozen_networks.tuned_held_out(EXPERIMENTS[name], dataset, profile, fold)
        found[name] = Candidate(None, (name,), finished.held_out)
        found[f"{name}, located"] = Candidate(None, (name,), located, True)
    if len(whole) > 1:
        mean = np.mean([found[f"{name}, located"].held_out for name in whole], axis=0)
        found[f"{' + '.join(whole)}, located"] = Candidate(None, tuple(whole), mean, True)
    return found


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
    made = [_frozen(candidate, dataset, profile)] if candidate.readout else []
    made += [_tuned(name, candidate.located, dataset, profile) for name in candidate.runs]
    parts, predictions = map(list, zip(*made, strict=True))
    description = {
        "name": name,
        "readout": candidate.readout,
        "runs": list(candidate.runs),
        "data": dataset.fingerprint,
        "profile": profile.name,
        "chosen on": f"fold {FOLD} of the training images",
    }
    mean = np.mean([predicted.astype(np.float64) for predicted in predictions], axis=0)
    val, test = np.split(mean, [len(dataset.val.images)])
    return saved_model.Model(description, parts, dataset.images[:0], {"val": val, "test": test})


def _frozen(candidate, dataset, profile):
    """The readout of frozen networks in a candidate, and its predictions."""
    spec, responses = frozen_networks.specs(dataset, profile)[candidate.readout], dataset.train.responses
    K = frozen_networks.kernel(spec, dataset)
    fitted = spec.fit(K, responses, folds=datasets.choosing_folds(dataset))
    return new_images.predictor(K, fitted, dataset.train.images, responses, spec.views()), fitted.predictions


def _tuned(name, located, dataset, profile):
    """A fine-tuned network, or its backbone's located readout, and its predictions. name : of its experiment"""
    experiment = EXPERIMENTS[name]
    finished, data = runs.run(experiment, dataset, profile), profile.training_data(experiment, dataset)
    tuned = saved_model.of_run(experiment, finished, data)
    if not located:
        return tuned, np.concatenate([finished.val, finished.test])
    views = at_two_sizes(tuned.view(layer_profile.best_blur(dataset, profile)))
    responses = data.train.responses
    stack = layer_profile.by_place(views, data)
    fitted = receptive_fields.ridge(stack, responses)
    return new_images.predictor(stack, fitted, data.train.images, responses, views, tuned=tuned), fitted.predictions
