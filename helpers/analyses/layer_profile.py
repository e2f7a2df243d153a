"""Frozen networks block by block: their Gram matrices over all images, and a ridge readout of each."""

import functools
import itertools
import tempfile
import time
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from helpers import cache, datasets, metrics, models, progress
from helpers.experiments.networks_and_recipes import LITE0
from helpers.models import architecture, frozen
from helpers.readout import features, gram, gram_by_place, receptive_fields, regression
from helpers.readout.features import View

TINY = ("blocks.1.1", "blocks.3.2")  # layers of lite0 that stand for all in the tests' profile
PIXEL_SIDE = 32  # pixel readouts see images of so many pixels a side
# How many of a network's stages take part in the plain sum of a second size. With all seven: .361 for .366 by folds of
# V4 recordings, .466 for .478 by those of the stand-in.
ZOOMED_STAGES = 4


class Blocks(NamedTuple):
    """Ridge readouts of single blocks, each by a dict layer -> array.

    score : (n_neurons,), cross-validated explained variance inside the training images: what blocks are chosen by
    val, test : predictions of shape (n_images, n_neurons)
    source : where the network's weights came from
    """

    score: dict
    val: dict
    test: dict
    source: str


def stage_ends(layers):
    """The last block of each stage: of blocks.3.0, blocks.3.1 and blocks.3.2 the last.

    Of networks whose blocks all have one prefix, as transformers', ZOOMED_STAGES evenly spaced ones.
    """
    ends = list({layer.rsplit(".", 1)[0]: layer for layer in layers}.values())
    n = min(ZOOMED_STAGES, len(layers))
    return ends if len(ends) > 1 else [layers[(i + 1) * len(layers) // n - 1] for i in range(n)]


def view_of(tag, pixels, *, zoom=1.0, pretrained=True):
    """How a network sees images of (height, width) `pixels`, `zoom` times their size: a View of all its blocks."""
    network, source = models.load_backbone(tag, tuple(round(side * zoom) for side in pixels), pretrained=pretrained)
    layers = architecture.default_layers(network)
    own = models.own_normalisation(tag)
    return View(network, layers, own, network.input_pixels, name=tag, weights=source)


def block_view(tag, dataset, profile, *, pretrained=True, layers=None, zoomed=False):
    """`view_of` for the images of a data set, at the size that the network sees them at.

    layers : function from the names of all blocks to those that are taken; None for all blocks, with random weights for
    the last one of each stage, and zoomed, of images features.ZOOM times as large, for that of each of the last
    ZOOMED_STAGES stages. In the tests' profile: two blocks.
    """
    pixels, zoom = frozen.seen_at(tag, dataset.images.shape[2:]), features.ZOOM if zoomed else 1.0
    view = view_of(tag, pixels, zoom=zoom, pretrained=pretrained)
    layers = layers or (_last_stages if zoomed else list if pretrained else stage_ends)
    return view._replace(layers=(_few if profile.name == "tiny" else layers)(view.layers))


def located_views(tags, pixels):
    """`view_of` networks for a located readout: all rectified features, of each network at both sizes.

    With the last four stages alone at the second one: by folds of V4 .412 for .4145, of the stand-in .588 for .595.
    """
    views = [view_of(tag, pixels, zoom=zoom) for tag, zoom in itertools.product(tags, (1.0, features.ZOOM))]
    return [view._replace(layers=architecture.rectified_layers(view.network)) for view in views]


def _seen(view):
    """A view's settings for the cache."""
    said = {field: getattr(view, field) for field in ("name", "layers", "normalisation", "pixels", "grid", "blur")}
    return said | {"weights": cache.weights_digest(view.network.state_dict())}


def _cached(view, dataset, form, compute):
    """A view's Gram matrices: found, or computed and kept."""
    weights, size = "pretrained" if view.weights != models.RANDOM else "random", f"{view.pixels[0]}x{view.pixels[1]}"
    variant = "-".join(filter(None, ["kernels", weights, size, str(len(view.layers)), form]))
    return cache.cached(dataset, view.name, variant, _seen(view) | {"form": form}, compute, kind="gram")


def views_by_place(tag, dataset, profile):
    """How a network sees the images of a data set for its located readout: Views at both sizes, of its `best_blur`."""
    blur = best_blur(dataset, profile)
    return [view._replace(blur=blur) for view in _at_both_sizes(tag, dataset, profile)]


def _at_both_sizes(tag, dataset, profile):
    views = located_views([tag], frozen.seen_at(tag, dataset.images.shape[2:]))
    return [view._replace(layers=_few(view.layers)) if profile.name == "tiny" else view for view in views]


def best_blur(dataset, profile):
    """The blur of a data set's located readouts, chosen with lite0: see receptive_fields.best_blur."""
    (view, _), train = _at_both_sizes(LITE0, dataset, profile), dataset.train
    compute = functools.partial(receptive_fields.best_blur, view, train.images, train.responses)
    return cache.cached(dataset, LITE0, "blur", _seen(view), lambda: {"blur": compute()})["blur"]


def grams_by_place(tag, dataset, profile):
    """Gram matrices of a network's rectified features at each place of the image, at both sizes.

    A list of two arrays (GRID², n_images, n_images). Computed once; later calls map the files. See
    gram_by_place.grams_by_place.
    """

    def places(view):
        return _cached(view, dataset, "by-place", lambda: {"places": by_place([view], dataset)})["places"]

    return [places(view) for view in views_by_place(tag, dataset, profile)]


def by_place(views, dataset):
    """Gram matrices of what views take, by place, in an unnamed file. See `gram_by_place.grams_by_place`."""
    images, n_images = dataset.images, len(dataset.images)
    out = np.memmap(tempfile.TemporaryFile(), np.float32, "w+", shape=(features.GRID**2, n_images, n_images))
    return gram_by_place.stack_of(views, images, n_train=len(dataset.train.images), out=out)


def kernels(tag, dataset, profile, *, pretrained=True, layers=None):
    """Gram matrices of a network's blocks, of those of `block_view`: dict layer -> array, and its weights' source.

    Arrays have shape (n_images, n_images). Computed once; later calls map the files. Maps are averaged to a grid of
    features.GRID.
    """
    view = block_view(tag, dataset, profile, pretrained=pretrained, layers=layers)
    compute = functools.partial(features.gram_of_layers, view, dataset.images, n_train=len(dataset.train.images))
    return _cached(view, dataset, "", compute), view.weights


def block_sum(tag, dataset, profile, *, zoomed=False):
    """The Gram matrix of all blocks of a network side by side, each divided by its mean training diagonal.

    Of those of `block_view`. Computed once, in the memory that all of them take.
    """
    view, n_train = block_view(tag, dataset, profile, zoomed=zoomed), len(dataset.train.images)

    def compute():
        made = features.gram_of_layers(view, dataset.images, n_train=n_train)
        return {"sum": gram.combine(list(made.values()), n_train=n_train)}

    return _cached(view, dataset, "summed", compute)["sum"]


def _last_stages(layers):
    return stage_ends(layers)[-ZOOMED_STAGES:]


def _few(layers):
    """The tests' profile's layers: two of lite0, else the last two."""
    return [layer for layer in layers if layer.startswith(TINY)] or layers[-2:]


def pixel_kernel(dataset):
    """Gram matrix of all images' pixels, at most PIXEL_SIDE a side."""
    return features.gram_of_pixels(dataset.images, n_train=len(dataset.train.images), size=PIXEL_SIDE)


def block_readouts(tag, dataset, profile, *, pretrained=True, layers=None):
    """Ridge from each block of a frozen network, of those of `kernels`: `Blocks`."""
    found, source = kernels(tag, dataset, profile, pretrained=pretrained, layers=layers)

    def compute():
        arrays, folds, began = {}, datasets.choosing_folds(dataset), time.monotonic()
        for done, (layer, K) in enumerate(found.items(), 1):
            fitted = regression.ridge(K, dataset.train.responses, folds=folds)
            arrays[f"score {layer}"] = fitted.score
            arrays |= {f"{role} {layer}": array for role, array in by_role(fitted.predictions, dataset).items()}
            progress.show(f"{short_name(tag, source)}: ridge from blocks", began, done, len(found))
        return arrays

    settings = {"readouts": cache.keys_of(found.values())}
    variant = f"readouts-{'random' if source == models.RANDOM else 'pretrained'}"
    arrays = cache.cached(dataset, tag, variant, settings, compute)
    parts = [{layer: arrays[f"{part} {layer}"] for layer in found} for part in ("score", "val", "test")]
    return Blocks(*parts, source)


def n_components(dataset):
    """The published study's number of principal components, in proportion: it had 1000 for 2592 training images."""
    return round(len(dataset.train.images) * 1000 / 2592)


def least_squares(tag, dataset, profile):
    """The published study's regression from the last block of each stage: dict layer -> predictions for val and test.

    Least squares on principal components. Arrays have shape (n_val + n_test, n_neurons).
    """
    found, _ = kernels(tag, dataset, profile)
    found = {layer: found[layer] for layer in stage_ends(list(found))}

    def compute():
        fit = functools.partial(regression.principal_component_regression, n_components=n_components(dataset))
        return {layer: fit(K, dataset.train.responses) for layer, K in found.items()}

    return cache.cached(dataset, tag, "least-squares", {"least squares": cache.keys_of(found.values())}, compute)


def scores_by_depth(tag, dataset, predictions, responses):
    """Explained variance by the relative depth of a network's layers, means over neurons.

    predictions : dict layer -> array (n_images, n_neurons), scored against `responses`. Returns a frame with columns
    network, layer, depth, 0 for the first of the network's blocks and 1 for the last, and explained_variance.
    """
    blocks, lines = _blocks_of(tag, dataset.images.shape[2:]), []
    for layer, predicted in predictions.items():
        depth = blocks.index(layer) / max(1, len(blocks) - 1)
        score = float(metrics.known_mean(metrics.explained_variance(responses, predicted)))
        lines.append({"network": frozen.label_of(tag), "layer": layer, "depth": depth, "explained_variance": score})
    return pd.DataFrame(lines)


@functools.cache
def _blocks_of(tag, pixels):
    """Names of all of a network's blocks, in order."""
    with torch.device("meta"):  # names alone
        return view_of(tag, pixels, pretrained=False).layers


def best_block(blocks):
    """Name of the block with the best cross-validated score, a mean over neurons."""
    return max(blocks.score, key=lambda layer: blocks.score[layer].mean())


def weighted_and_plain_sum(dataset, profile):
    """Out-of-fold predictions of multiple-kernel ridge over lite0's early, middle and late blocks, and of their sum."""
    blocks, _ = kernels(LITE0, dataset, profile)
    combine = functools.partial(gram.combine, n_train=len(dataset.train.images))
    thirds = [combine([blocks[layer] for layer in third]) for third in np.array_split(list(blocks), 3)]
    responses, folds = dataset.train.responses, datasets.choosing_folds(dataset)
    weighted = regression.cross_predict(regression.multiple_kernel_ridge, np.stack(thirds), responses, folds)
    return weighted, regression.cross_predict(regression.ridge, combine(thirds), responses, folds)


def by_role(predictions, dataset):
    """Predictions for the images after the training images as dict 'val', 'test' -> float32 array."""
    n_val = len(dataset.val.images)
    return {"val": predictions[:n_val].astype(np.float32), "test": predictions[n_val:].astype(np.float32)}


def short_name(tag, source):
    """A network's label, as lite0; random weights are named."""
    name = frozen.label_of(tag)
    return f"{name} (random weights)" if source == models.RANDOM else name
