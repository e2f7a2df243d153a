"""Readouts of frozen networks as rows beside the trained ones: a block, sums of blocks, networks and image sizes.

Pixels are the lowest bar, the object mean the control that knows the labels alone. The located readout of a fine-tuned
backbone is here too: it is frozen then.
"""

import functools
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import cache, datasets, metrics, models, progress
from helpers.analyses import labels, layer_profile, tables
from helpers.experiments import runs, saved_model
from helpers.experiments.networks_and_recipes import LITE0
from helpers.models import frozen
from helpers.models.weights import PACKAGED_WEIGHTS
from helpers.readout import features, gram, receptive_fields, regression

LOCATED = "located at two sizes"


class RowSpec(NamedTuple):
    """What a readout row is fitted on and how.

    kernels : groups of Gram matrices, read from disk when used; every group counts the same in their sum, and every
        matrix in its group. Stacks by place of the image (receptive_fields.ridge) are a single group and summed
        as they are. None for the pixels'
    fit : `regression.ridge` or `receptive_fields.ridge`
    views : called without arguments; returns how networks saw the images, a list of View, one a group or a stack
    """

    kernels: list[list] | None
    fit: Callable = regression.ridge
    views: Callable | None = None


class Row(NamedTuple):
    """Predictions of one readout: arrays of shape (n_images, n_neurons) in the units of the file.

    `held_out` are the training images, each predicted by a fit that saw neither it nor its fold (but its blur).
    """

    held_out: np.ndarray
    val: np.ndarray
    test: np.ndarray


def specs(dataset, profile):
    """What each readout row is fitted on: dict name -> RowSpec.

    Networks are those of data/frozen_networks.csv whose weights are at hand: those out of no package have a row each,
    and sums are over those that `kept` chose. Every network counts the same, and so does every size (by folds of V4
    recordings .001, of the stand-in .003 to .006 better than every block). A lite0 without its weights says so.
    """
    grams, source = layer_profile.kernels(LITE0, dataset, profile)
    best = layer_profile.best_block(layer_profile.block_readouts(LITE0, dataset, profile))

    def view(tag, zoomed=False):
        return layer_profile.block_view(tag, dataset, profile, zoomed=zoomed)

    def blocks(tag, zoomed):
        once = tag == LITE0 and not zoomed
        return list(grams.values()) if once else [layer_profile.block_sum(tag, dataset, profile, zoomed=zoomed)]

    def total(tags, sizes=(False,)):  # the sum of blocks of networks, zoomed or not
        seen = [(tag, zoomed) for zoomed in sizes for tag in tags]
        return RowSpec([blocks(*each) for each in seen], views=lambda: [view(*each) for each in seen])

    name = layer_profile.short_name(LITE0, source)
    found = {
        "pixels": RowSpec(None, views=lambda: [features.pixel_view(layer_profile.PIXEL_SIDE)]),
        f"{name}: best single block": RowSpec([[grams[best]]], views=lambda: [view(LITE0)._replace(layers=[best])]),
        f"{name}: sum of blocks": total([LITE0]),
    }
    for tag in _unpackaged(at_hand(profile)):
        found[f"{frozen.label_of(tag)}: sum of blocks"] = total([tag])
    tags = kept(dataset, profile)
    name = " + ".join(layer_profile.short_name(tag, source if tag == LITE0 else "") for tag in tags)
    if len(tags) > 1:
        found[f"{name}: sum of blocks"] = total(tags)
    found[f"{name}: sum of blocks at two sizes"] = total(tags, (False, True))
    found[f"{name}: {LOCATED}"] = located_spec(dataset, profile)
    return found


def located_spec(dataset, profile, tags=None):
    """The RowSpec with a receptive field per neuron, of networks at both sizes. tags : those that are kept, if None"""
    tags = kept(dataset, profile) if tags is None else tags
    stacks = [stack for tag in tags for stack in layer_profile.grams_by_place(tag, dataset, profile)]
    views = functools.partial(layer_profile.views_by_place, dataset=dataset, profile=profile)
    return RowSpec([stacks], receptive_fields.ridge, lambda: [view for tag in tags for view in views(tag)])


def at_hand(profile):
    """lite0, and the profile's other networks where there are weights for them."""
    if models.find_weights(LITE0)[1] == models.RANDOM:
        return [LITE0]
    return [LITE0, *(tag for tag in frozen.at_hand(profile.name) if tag != LITE0)]


def _unpackaged(tags):
    return [tag for tag in tags if tag.partition(".")[0] not in PACKAGED_WEIGHTS]


def kept(dataset, profile):
    """Tags of the networks in the sums, chosen by folds of the training images: see regression.greedy_sum.

    Those out of packages were chosen on V4 and the stand-in: where there are no others, all of them are kept.
    """
    tags = at_hand(profile)
    if not _unpackaged(tags):
        return tags
    sums = {tag: layer_profile.block_sum(tag, dataset, profile) for tag in tags}
    settings = {"kept": cache.keys_of(sums.values())}

    def compute():
        folds = datasets.choosing_folds(dataset)
        return {"tags": regression.greedy_sum(sums, dataset.train.responses, folds, score=runs.held_out_score)}

    return cache.cached(dataset, "readouts", "kept", settings, compute, kind="search")["tags"]


def located_score(tag, dataset, profile):
    """Explained variance (n_neurons,) by folds of the training images of one network's located readout."""
    row = _row(f"{tag}: {LOCATED}", located_spec(dataset, profile, [tag]), dataset)
    return metrics.explained_variance(dataset.train.responses, row.held_out)


def rows(dataset, profile):
    """Every readout that stands beside trained networks, best single block and sums chosen by folds: dict name -> Row.

    The best single block is chosen on the folds that also score it, which can only favour it.
    """
    return {name: _row(name, spec, dataset) for name, spec in specs(dataset, profile).items()}


def _row(name, spec, dataset):
    """The Row of a RowSpec: found, or fitted."""

    def compute():
        K, responses, folds = kernel(spec, dataset), dataset.train.responses, datasets.choosing_folds(dataset)
        fit = _with_progress(spec.fit, f"{name}: fits", 1 + len(folds))
        predictions = fit(K, responses, folds=folds).predictions
        held_out = regression.cross_predict(fit, K, responses, folds)
        return {"held_out": held_out} | layer_profile.by_role(predictions, dataset)

    return Row(**cache.cached(dataset, "readouts", _slug(name), _settings(name, spec), compute))


def kernel(spec, dataset):
    """What a RowSpec is fitted on: a Gram matrix (n_images, n_images), or a stack of those of every place."""
    if spec.kernels is None:
        return layer_profile.pixel_kernel(dataset)
    if spec.fit is receptive_fields.ridge:
        stack = np.array(spec.kernels[0][0])
        for other in spec.kernels[0][1:]:
            stack += other
        return stack
    n_train = len(dataset.train.images)
    return gram.combine((gram.combine(group, n_train=n_train) for group in spec.kernels), n_train=n_train)


def fitted(spec, dataset):
    """A RowSpec fitted to all training images, as a regression.Readout or receptive_fields.Located."""
    return spec.fit(kernel(spec, dataset), dataset.train.responses, folds=datasets.choosing_folds(dataset))


def held_out_objects(dataset, profile):
    """The same readouts for objects they have not seen: dict name -> predictions of the training images.

    Folds hold out whole objects, and inside a fold penalties are chosen on further whole objects, those of the located
    readout by leaving out single images. The object mean, for which there is nothing to go by, predicts the mean of the
    other objects. Raises ValueError if there are fewer objects than folds.
    """
    folds = datasets.object_folds(dataset.train.objects, datasets.N_FOLDS, seed=0)
    held_out = {"object mean": labels.object_mean_held_out(dataset, folds)}
    for name, spec in specs(dataset, profile).items():

        def compute(name=name, spec=spec):
            K = kernel(spec, dataset)
            fit = _with_progress(spec.fit, f"{name}: fits by folds over objects", len(folds))
            return {"held_out": regression.cross_predict(fit, K, dataset.train.responses, folds)}

        settings = _settings(name, spec) | {"folds": "objects"}
        held_out[name] = cache.cached(dataset, "readouts", f"objects-{_slug(name)}", settings, compute)["held_out"]
    return held_out


def held_out_differences(pairs, held_out, dataset):
    """Paired differences of out-of-fold scores over the training images, as `tables.differences` has them for val.

    pairs : list of (name, name compared with). held_out : dict name -> predictions (n_train, n_neurons). Returns a
    frame with columns comparison, difference, low, high (corrected as there) and verdict.
    """
    lines = []
    for name, against in pairs:
        found = tables.compared(held_out[name], held_out[against], dataset.train)
        lines.append({"comparison": f"{name} against {against}"} | found)
    return pd.DataFrame(lines)


def object_mean(dataset):
    """The control that knows an image's object and nothing else, as a Row."""
    train = dataset.train
    val, test = (
        labels.object_mean_prediction(train.responses, train.objects, split.objects)
        for split in (dataset.val, dataset.test)
    )
    return Row(labels.object_mean_held_out(dataset, datasets.choosing_folds(dataset)), val, test)


def tuned_held_out(experiment, dataset, profile, fold):
    """Predictions (n_held_out, n_neurons) of a fold by the located readout of a backbone tuned on the other folds."""
    finished = runs.run(experiment, dataset, profile, held_out_fold=fold)
    blur = layer_profile.best_blur(dataset, profile)
    fit, held_out = datasets.fold_of(dataset, fold)

    def compute():
        data = profile.training_data(experiment, dataset)
        views = features.at_two_sizes(saved_model.of_run(experiment, finished, data).view(blur))
        order = np.concatenate([fit, held_out])
        stack = np.stack([K[np.ix_(order, order)] for K in layer_profile.by_place(views, data)])
        return {"held_out": receptive_fields.ridge(stack, dataset.train.responses[fit]).predictions}

    settings = {"tuned": finished.folder.name, "fold": fold, "blur": blur}
    return cache.cached(dataset, "readouts", f"tuned-{experiment.name}", settings, compute)["held_out"]


def _slug(name):
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _with_progress(fit, label, n_fits):
    """The same function with a line of progress after each of n_fits calls."""
    began, done = time.monotonic(), itertools.count(1)

    def call(K, responses, *, folds):
        found = fit(K, responses, folds=folds)
        progress.show(label, began, next(done), n_fits)
        return found

    return call


def _settings(name, spec):
    """What a row is found again by: its Gram matrices change with network, weights, layers, data and code."""
    if spec.kernels is None:
        files = [layer_profile.PIXEL_SIDE]
    else:
        files = [cache.keys_of(group) for group in spec.kernels]
    return {"row": name, "kernels": files, "fit": spec.fit.__name__}
