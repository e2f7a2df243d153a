"""Frozen networks block by block: their Gram matrices over all images, and a ridge readout of each."""

import functools
import tempfile
import time
from typing import NamedTuple

import numpy as np
import torch

from helpers import cache, models, progress
from helpers.datasets import choosing_folds as choosing_folds
from helpers.device import accelerator
from helpers.experiments.rows import LITE0
from helpers.models import architecture, catalogue
from helpers.readout import features, gram, gram_by_place, regression

TINY = ("blocks.1.1", "blocks.3.2")  # layers of lite0 that stand for all in the tests' profile
PIXEL_SIDE = 32  # pixel readouts see images of so many pixels a side
# How many times larger networks see the images at a second size, and how many of their stages take part in it. With all
# seven stages: .361 for .366 by folds of V4 recordings, .466 for .478 by those of the stand-in.
ZOOM, ZOOMED_STAGES = 1.5, 4
BLUR = 0.1  # of maps before their Gram matrices by place, in shares of the image


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


def stage_ends(layers, *, depth=1):
    """The last block of each stage: of blocks.3.0, blocks.3.1 and blocks.3.2 the last.

    Of networks whose blocks all have one prefix, as transformers', so many evenly spaced ones as are taken zoomed.
    depth : parts at the end of a name that do not name the stage
    """
    ends = list({layer.rsplit(".", depth)[0]: layer for layer in layers}.values())
    n = min(ZOOMED_STAGES, len(layers))
    return ends if len(ends) > 1 else [layers[(i + 1) * len(layers) // n - 1] for i in range(n)]


def grams(tag, dataset, *, pretrained=True, layers=None, zoom=1.0, summed=False):
    """Gram matrices of a network's layers over all images, dict layer -> array, and the source of the weights.

    Arrays have shape (n_images, n_images). Computed once; later calls map the files. `layers=None` takes every block.
    Maps are averaged to a grid of features.GRID. The network sees images `zoom` times their size. `summed` writes one
    array of all layers, "sum", by gram.combine; in memory it takes what all of them take.
    """
    network, source, pixels = _network(tag, dataset, zoom=zoom, pretrained=pretrained)
    layers = architecture.default_layers(network) if layers is None else list(layers)
    place = _place(tag, network, source, layers, pixels, "summed" if summed else "")

    def compute():
        n_train = len(dataset.train.images)
        made = features.gram_of_layers(
            network.to(accelerator().device),
            dataset.images,
            layers,
            n_train=n_train,
            grid=features.GRID,
            **_how(tag, source, layers, dataset, pixels),
        )
        return {"sum": gram.combine(list(made.values()), n_train=n_train)} if summed else made

    return cache.cached(dataset, *place, compute, kind="gram"), source


def _network(tag, dataset, *, zoom=1.0, pretrained=True):
    """A backbone, its weights' source, and the (height, width) that it sees images `zoom` times their size at."""
    pixels = tuple(round(side * zoom) for side in catalogue.seen_at(tag, dataset.images.shape[2:]))
    network, source = models.load_backbone(tag, pixels, pretrained=pretrained)
    return network, source, network.input_pixels


def _place(tag, network, source, layers, pixels, form):
    """Name, variant and settings of a network's Gram matrices, as `cache` finds them by."""
    settings = {
        "kernels": tag,
        "layers": layers,
        "grid": features.GRID,
        "pixels": pixels,
        "form": form,
        "weights": cache.weights_digest(network.state_dict()),
    }
    weights = "pretrained" if source != models.RANDOM else "random"
    variant = "-".join(filter(None, ["kernels", weights, f"{pixels[0]}x{pixels[1]}", str(len(layers)), form]))
    return tag, variant, settings


def _how(tag, source, layers, dataset, pixels):
    """How a network sees the images, and its line of progress."""
    label = f"{tag} ({source} weights), images through {len(layers)} layers"
    return {
        "normalisation": models.own_normalisation(tag),
        "pixels": None if pixels == dataset.images.shape[2:] else pixels,
        "progress": functools.partial(progress.show, label, time.monotonic()),
    }


def grams_by_place(tag, dataset, profile, *, zoomed=False):
    """Gram matrices of a network's rectified features at each place of the image: (GRID², n_images, n_images).

    Computed once; later calls map the file. Blocks and zoom are those of `block_sum`. See gram_by_place.grams_by_place.
    """
    network, source, pixels = _network(tag, dataset, zoom=ZOOM if zoomed else 1.0)
    if profile.name == "tiny":
        layers = _few(architecture.rectified_layers(network))
    else:
        layers = located_layers(network, zoomed=zoomed)

    def compute():
        network.to(accelerator().device)
        return {"places": by_place(network, dataset, layers, **_how(tag, source, layers, dataset, pixels))}

    place = _place(tag, network, source, layers, pixels, "by-place")
    return cache.cached(dataset, *place, compute, kind="gram")["places"]


def located_layers(network, *, zoomed):
    """The layers that a located readout takes at either size: all rectified features, or the last stages' ends."""
    layers = architecture.rectified_layers(network)
    return stage_ends(layers, depth=2)[-ZOOMED_STAGES:] if zoomed else layers


def by_place(network, dataset, layers, **how):
    """Gram matrices of a network's layers by place, in an unnamed file. how : see `gram_by_place.grams_by_place`."""
    n_images, n_train = len(dataset.images), len(dataset.train.images)
    out = np.memmap(tempfile.TemporaryFile(), np.float32, "w+", shape=(features.GRID**2, n_images, n_images))
    return gram_by_place.grams_by_place(network, dataset.images, layers, n_train=n_train, out=out, blur=BLUR, **how)


def kernels(tag, dataset, profile, *, pretrained=True):
    """Gram matrices of a network's blocks by `grams`, and its weights' source.

    With random weights the last block of each stage only. In the tests' profile: two blocks.
    """
    layers = _few(layers_of(tag, dataset)) if profile.name == "tiny" else None
    if profile.name != "tiny" and not pretrained:
        layers = stage_ends(layers_of(tag, dataset))
    return grams(tag, dataset, pretrained=pretrained, layers=layers)


def block_sum(tag, dataset, profile, *, zoomed=False):
    """The Gram matrix of all blocks of a network side by side, each divided by its mean training diagonal.

    Zoomed: for images ZOOM times as large, the last block of each of the last ZOOMED_STAGES stages. In the tests'
    profile: two blocks.
    """
    layers = _few(layers_of(tag, dataset)) if profile.name == "tiny" else None
    if profile.name != "tiny" and zoomed:
        layers = stage_ends(layers_of(tag, dataset))[-ZOOMED_STAGES:]
    found, _ = grams(tag, dataset, layers=layers, zoom=ZOOM if zoomed else 1.0, summed=True)
    return found["sum"]


def layers_of(tag, dataset):
    """Names of all of a network's blocks, in order."""
    with torch.device("meta"):  # names alone
        network, _ = models.load_backbone(tag, dataset.images.shape[2:], pretrained=False)
    return architecture.default_layers(network)


def _few(layers):
    """The tests' profile's layers: two of lite0, else the last two."""
    return [layer for layer in layers if layer.startswith(TINY)] or layers[-2:]


def pixel_kernel(dataset):
    """Gram matrix of all images' pixels, at most PIXEL_SIDE a side."""
    return features.gram_of_pixels(dataset.images, n_train=len(dataset.train.images), size=PIXEL_SIDE)


def block_readouts(tag, dataset, profile, *, pretrained=True):
    """Ridge from each block of a frozen network: `Blocks`."""
    found, source = kernels(tag, dataset, profile, pretrained=pretrained)

    def compute():
        arrays, folds, began = {}, choosing_folds(dataset), time.monotonic()
        for done, (layer, K) in enumerate(found.items(), 1):
            fitted = regression.ridge(K, dataset.train.responses, folds=folds)
            arrays[f"score {layer}"] = fitted.score
            arrays |= {f"{role} {layer}": array for role, array in by_role(fitted.predictions, dataset).items()}
            progress.show(f"{short_name(tag, source)}: ridge from blocks", began, done, len(found))
        return arrays

    settings = {"readouts": file_names(found.values())}
    variant = f"readouts-{'random' if source == models.RANDOM else 'pretrained'}"
    arrays = cache.cached(dataset, tag, variant, settings, compute)
    parts = [{layer: arrays[f"{part} {layer}"] for layer in found} for part in ("score", "val", "test")]
    return Blocks(*parts, source)


def best_block(blocks):
    """Name of the block with the best cross-validated score, a mean over neurons."""
    return max(blocks.score, key=lambda layer: blocks.score[layer].mean())


def weighted_and_plain_sum(dataset, profile):
    """Out-of-fold predictions of multiple-kernel ridge over lite0's early, middle and late blocks, and of their sum."""
    blocks, _ = kernels(LITE0, dataset, profile)
    n_train, folds = len(dataset.train.images), choosing_folds(dataset)
    thirds = [
        gram.combine([blocks[layer] for layer in third], n_train=n_train) for third in np.array_split(list(blocks), 3)
    ]
    weighted = regression.cross_predict(
        regression.multiple_kernel_ridge, np.stack(thirds), dataset.train.responses, folds
    )
    plain = gram.combine(thirds, n_train=n_train)
    return weighted, regression.cross_predict(regression.ridge, plain, dataset.train.responses, folds)


def by_role(predictions, dataset):
    """Predictions for the images after the training images as dict 'val', 'test' -> float32 array."""
    n_val = len(dataset.val.images)
    return {"val": predictions[:n_val].astype(np.float32), "test": predictions[n_val:].astype(np.float32)}


def short_name(tag, source):
    """A network's label, as lite0; random weights are named."""
    name = catalogue.label_of(tag)
    return f"{name} (random weights)" if source == models.RANDOM else name


def file_names(mapped):
    """What Gram matrices are in another result's key: keys of their network, weights, layers, data and code."""
    return [cache.key_of(K) for K in mapped]
