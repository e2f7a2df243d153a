"""Gram matrices by place of the image, the intermediate of receptive_fields.py per neuron."""

import time
from collections import Counter

import numpy as np
import torch

from helpers.readout import features
from helpers.readout.features import GRID


def grams_by_place(
    network,
    images,
    layers,
    *,
    normalisation,
    n_train,
    out,
    blur,
    grid=GRID,
    pixels=None,
    batch_size=16,
    progress=None,
    costs=None,
    product=features.product,
):
    """Gram matrices of a network's layers at each place of the image, summed over layers and added to `out`.

    Maps are averaged to at most `grid` a side and blurred. Nothing is learned from the images but the mean of the
    training images, which centring on others takes out again: whichever of them are fitted, theirs is a submatrix.
    Channels are divided by the fourth root of the variance that their batch norm gives them (with a floor of a tenth of
    the layer's mean), and a layer by the root of the sum of variances that is left. Averaging photographs' maps to a
    grid divides it by about the maps' side, which is given back: so layers count about the same. A map with fewer
    places than the grid shares out each place's Gram matrix by area: the sum over the grid is that over the map.

    Memory is bounded by the batch's activations, the features of one place, `out` and 8 n_images² bytes; features go to
    temporary files as those of `gram_of_layers`, which has the other parameters and errors.

    Parameters
    ----------
    out : float32 array of shape (grid², n_images, n_images), such as a mapped file; is added to
    blur : sd of the Gaussian over places, in shares of the image's sides
    product : function of (features, n_train, device) that makes a place's matrix; `out` has its shape
    """
    scales = {layer: _channel_scale(network.get_submodule(layer)) for layer in layers}

    def reduced(name, output):
        maps = features.to_maps(output, network, pixels or images.shape[2:])
        side = (maps.shape[2] * maps.shape[3]) ** 0.5
        maps = features.to_grid(maps, grid)
        down, right = (torch.from_numpy(_blur(side, blur)).to(maps) for side in maps.shape[2:])
        maps = torch.einsum("ij,bcjk,lk->bilc", down, maps, right)
        n_places = maps.shape[1] * maps.shape[2]
        return maps * (torch.as_tensor(scales[name]).to(maps) * (side / n_places) ** 0.5)

    costs = Counter() if costs is None else costs
    passed = {"normalisation": normalisation, "pixels": pixels, "batch_size": batch_size, "progress": progress}
    with features.spilled(network, images, layers, reduced, **passed, costs=costs) as files:
        begin, device = time.perf_counter(), features.device_of(network)
        for sides in sorted({shape[:2] for _, shape in files.values()}):
            alike = [(file, shape[2]) for file, shape in files.values() if shape[:2] == sides]
            shares = np.kron(*(_overlap(side, grid) for side in sides))  # (grid², n_places)
            for place, share in enumerate(shares.T):
                gram = product(_at(place, alike, len(images), shares.shape[1]), n_train, device)
                for at in np.flatnonzero(share):
                    out[at] += share[at].astype(np.float32) * gram
        costs["product"] += time.perf_counter() - begin
    return out


def _at(place, files, n_images, n_places):
    """Features (n_images, n_features) at one place of maps of n_places. files : pairs (file, its number of channels)"""
    columns = (features.columns(file, n_images, n_places * n, place * n, (place + 1) * n) for file, n in files)
    return np.hstack(list(columns))


def _channel_scale(module):
    """What a layer's channels are multiplied by, so that its expected sum of variances is 1: (n_channels,), or 1."""
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim != 1:
        return np.float32(1)
    variance = np.square(weight.detach().cpu().numpy())
    scale = (variance + 0.1 * variance.mean()) ** -0.25
    return scale / np.sqrt(np.sum(variance * scale**2))


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
