"""Gram matrices by place of the image, the intermediate of receptive_fields.py per neuron."""

import time
from collections import Counter

import numpy as np
import torch

from helpers.models import architecture
from helpers.readout import features


def stack_of(views, images, *, n_train, out=None, product=features.product):
    """`grams_by_place` summed over views: `out`, or a float32 array of shape (grid², n_images, n_images) without it."""
    if out is None:
        out = np.zeros((views[0].grid ** 2, len(images), len(images)), np.float32)
    for view in views:
        grams_by_place(view, images, n_train=n_train, out=out, product=product)
    return out


def grams_by_place(view, images, *, n_train, out, batch_size=16, costs=None, product=features.product):
    """Gram matrices of a network's layers at each place of the image, summed over layers and added to `out`.

    Maps are averaged to at most the view's grid a side and blurred. Of the training images their mean alone is learned,
    which centring on others takes out again, and the variance of layers that end in no batch norm, by whose root these
    are divided. After a batch norm, channels and layers are divided by the variance it gives them (_channel_scale).
    Averaging photographs' maps to a grid divides it by about the maps' side, which is given back: so layers count about
    the same. A map with fewer places than the grid shares out each place's Gram matrix by area.

    Memory is bounded by the batch's activations, the features of one place, `out` and 8 n_images² bytes; features go to
    temporary files as those of `gram_of_layers`, which has the other parameters and errors.

    Parameters
    ----------
    out : float32 array of shape (grid², n_images, n_images), such as a mapped file; is added to
    product : function of (features, n_train, device) that makes a place's matrix; `out` has its shape
    """
    modules = dict(view.network.named_modules())
    scales = {layer: _channel_scale(modules.get(layer)) for layer in view.layers}

    def reduced(name, output):
        maps = architecture.to_maps(output, view.network, view.pixels or images.shape[2:])
        if maps.ndim != 4:
            raise ValueError(f"layer {name} has no places: expected maps or tokens, found shape {tuple(maps.shape)}.")
        return _weighted(maps, scales[name], view)

    costs = Counter() if costs is None else costs
    with features.spilled(view, images, reduced, batch_size=batch_size, costs=costs) as files:
        begin, device = time.perf_counter(), features.device_of(view.network)
        gains = {
            file: 1 / _spread(file, len(images), shape, n_train)
            for layer, (file, shape) in files.items()
            if scales[layer] is None
        }
        for sides in sorted({shape[:2] for _, shape in files.values()}):
            alike = [(file, shape[2]) for file, shape in files.values() if shape[:2] == sides]
            shares = np.kron(*(_overlap(side, view.grid) for side in sides))  # (grid², n_places)
            for place, share in enumerate(shares.T):
                gram = product(_at(place, alike, gains, len(images), shares.shape[1]), n_train, device)
                for at in np.flatnonzero(share):
                    out[at] += share[at].astype(np.float32) * gram
        costs["product"] += time.perf_counter() - begin
    return out


def _weighted(maps, scale, view):
    """Maps (b, c, h, w) averaged to a view's grid, blurred, and their channels times `scale`: (b, rows, columns, c)."""
    side = (maps.shape[2] * maps.shape[3]) ** 0.5
    maps = features.to_grid(maps, view.grid)
    down, right = (torch.from_numpy(_blur(side, view.blur)).to(maps) for side in maps.shape[2:])
    maps = torch.einsum("ij,bcjk,lk->bilc", down, maps, right)
    n_places = maps.shape[1] * maps.shape[2]
    return maps if scale is None else maps * (torch.as_tensor(scale).to(maps) * (side / n_places) ** 0.5)


def _at(place, files, gains, n_images, n_places):
    """Features (n_images, n_features) at one place of maps of n_places, times their file's gain where it has one.

    files : pairs (file, its number of channels)
    """
    found = []
    for file, n in files:
        found.append(features.columns(file, n_images, n_places * n, place * n, (place + 1) * n))
        if file in gains:
            found[-1] *= gains[file]
    return np.hstack(found)


def _channel_scale(module):
    """What a batch norm's channels are multiplied by, for an expected sum of variances of 1: (n_channels,); or None.

    It is the inverse fourth root of each channel's variance, with a floor of a tenth of the layer's mean.
    """
    if not isinstance(module, torch.nn.BatchNorm2d) or module.weight is None:
        return None
    variance = np.square(module.weight.detach().cpu().numpy())
    scale = (variance + 0.1 * variance.mean()) ** -0.25
    return scale / np.sqrt(np.sum(variance * scale**2))


def _spread(file, n_images, shape, n_train):
    """Root of the variance over the training images of features of `shape` an image, summed over all of them."""
    places, n = shape[0] * shape[1], shape[2]
    parts = (features.columns(file, n_images, places * n, i * n, (i + 1) * n) for i in range(places))
    return np.float32(max(np.sqrt(sum(part[:n_train].var(0, dtype=np.float64).sum() for part in parts)), 1e-30))


def _blur(side, sd):
    """Matrix (side, side) that averages over places with Gaussian weights; the identity for sd 0."""
    middle = (np.arange(side) + 0.5) / side
    distance = np.abs(middle[:, None] - middle)
    weights = np.exp(-(distance**2) / (2 * sd**2)) if sd else np.eye(side)
    return weights / weights.sum(1, keepdims=True)


def _overlap(side, grid):
    """Share of each of `side` parts of a length that lies in each of `grid` parts: (grid, side), columns of sum 1."""
    coarse, fine = np.linspace(0, 1, side + 1), np.linspace(0, 1, grid + 1)
    ends = np.minimum(fine[1:, None], coarse[None, 1:]) - np.maximum(fine[:-1, None], coarse[None, :-1])
    return ends.clip(min=0) * side
