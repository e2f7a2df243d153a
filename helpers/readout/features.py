"""Features of pixels and of a network's layers, as their Gram matrices K = X Xᵀ, in bounded memory; see gram.py."""

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from helpers import models, progress
from helpers.datasets.images import Normalisation, to_batch
from helpers.device import accelerator
from helpers.models import architecture

# Side of the grid that feature maps are averaged to, with which sums of blocks predicted held-out images best: of V4
# recordings, by .003 over full features.
GRID = 7
ZOOM = 1.5  # how many times larger networks see the images at a second size
PIXELS = "pixels"  # name of the view that is no network
SLAB_BYTES = 2**27  # features of all images that are in memory at once


class View(NamedTuple):
    """How a network sees images, and which of its layers are taken: what one Gram matrix is made of.

    network : torch module; runs in evaluation mode
    layers : list of module names; the first output is taken of a module that runs several times
    normalisation : Normalisation that the network wants
    pixels : (height, width) that the network sees the images at, interpolated; None for their own
    grid : side of the grid that feature maps and patch tokens are averaged to; None for full features
    blur : sd of the Gaussian by which Gram matrices by place blur maps over the grid, in shares of the image's sides
    name, weights : of the network, and where they came from
    """

    network: torch.nn.Module
    layers: list
    normalisation: Normalisation
    pixels: tuple | None = None
    grid: int | None = GRID
    blur: float = 0.0
    name: str = ""
    weights: str = ""


def at_two_sizes(view):
    """A view, whose `pixels` are given, and the same at ZOOM times as many if its network takes these as it is built.

    For a trained network, which cannot be built for another size as `layer_profile.located_views` does.
    """
    zoomed = tuple(round(side * ZOOM) for side in view.pixels)
    return [view, view._replace(pixels=zoomed)] if models.takes(view.network, zoomed) else [view]


class _AllSeen(Exception):
    """Every wanted layer has run: the rest of the forward pass is not needed."""


def to_grid(maps, grid):
    """Maps averaged to at most `grid` a side."""
    return adaptive_avg_pool2d(maps, [min(grid, side) for side in maps.shape[2:]]) if maps.ndim == 4 else maps


def _forward(network, batch, layers, reduced):
    """Features of one batch, layer -> array whose first axis is the batch; stops after the deepest of the layers.

    reduced : function of (layer, its output) that returns the tensor to keep
    """
    seen = {}
    modules = dict(network.named_modules())

    def keep(name):
        def hook(module, inputs, output):
            # A copy: the next module may work in place.
            seen.setdefault(name, reduced(name, output).to("cpu", torch.float32, copy=True).contiguous().numpy())
            if len(seen) == len(layers):
                raise _AllSeen

        return hook

    stages = [int(name.removeprefix("stage.")) for name in layers if name not in modules]
    hooks = [modules[name].register_forward_hook(keep(name)) for name in layers if name in modules]
    try:
        if stages:
            maps = network.forward_intermediates(batch, indices=stages, intermediates_only=True)
            for stage, output in zip(stages, maps, strict=True):
                keep(f"stage.{stage}")(None, None, output)
        else:
            network(batch)
    except _AllSeen:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    missing = set(layers) - set(seen)
    if missing:
        raise ValueError(f"these layers do not run in a forward pass: {sorted(missing)}")
    return seen


@contextlib.contextmanager
def spilled(view, images, reduced, *, batch_size, costs):
    """One forward pass: dict layer -> (unnamed file of float32 features, image after image; shape of one image's)."""
    network, layers = view.network.to(accelerator().device), view.layers
    stages = {f"stage.{i}" for i in range(len(getattr(network, "feature_info", [])))}
    absent = set(layers) - stages - {name for name, _ in network.named_modules()}
    if absent:
        raise ValueError(f"{type(network).__name__} has no layers {sorted(absent)}")
    label = f"{view.name} ({view.weights or 'no'} weights), images through {len(layers)} layers"
    device, training, began = device_of(network), network.training, time.monotonic()
    network.eval()
    files, shapes = {layer: tempfile.TemporaryFile() for layer in layers}, {}
    try:
        for start in range(0, len(images), batch_size):
            clock = [time.perf_counter()]
            with torch.inference_mode():
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])).to(device)
                batch = models.at_pixels(to_batch(batch, view.normalisation), view.pixels or images.shape[2:])
                features = _forward(network, batch, layers, reduced)
            clock.append(time.perf_counter())
            if start == 0:
                shapes = {layer: array.shape[1:] for layer, array in features.items()}
                _check_room(len(images) * sum(array[0].nbytes for array in features.values()))
            for layer in layers:
                files[layer].write(features[layer])
            clock.append(time.perf_counter())
            costs["forward"] += clock[1] - clock[0]
            costs["spill"] += clock[2] - clock[1]
            progress.show(label, began, start + len(batch), len(images))
        costs["bytes"] += sum(file.seek(0, 2) for file in files.values())
        yield {layer: (files[layer], shapes[layer]) for layer in layers}
    finally:
        network.train(training)
        for file in files.values():
            file.close()


def device_of(network):
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


def columns(file, n_images, width, start, stop):
    """Features start to stop of all images, (n_images, stop - start), of a file with `width` features an image."""
    columns = np.empty((n_images, stop - start), np.float32)
    for i, row in enumerate(columns):
        file.seek(4 * (i * width + start))
        file.readinto(row)
    return columns


def product(columns, n_train, device):
    """X Xᵀ in float32. X is centred before the product, in which the mean would drown the trailing components."""
    columns -= columns[:n_train].mean(0, dtype=np.float64).astype(np.float32)
    if device.type == "cpu":
        return columns @ columns.T  # numpy sees that both are one array and computes one triangle
    on_device = torch.from_numpy(columns).to(device)
    return (on_device @ on_device.T).cpu().numpy()


def _gram_of_file(file, n_images, n_train, device, slab_bytes):
    """Centred Gram matrix of features that lie in `file` as float32, image after image."""
    width = file.seek(0, 2) // (4 * n_images)
    slab_width = max(1, slab_bytes // (4 * n_images))
    gram = np.zeros((n_images, n_images))
    for start in range(0, width, slab_width):
        slab = columns(file, n_images, width, start, min(start + slab_width, width))
        gram += product(slab, n_train, device)
    return gram


def _check_room(n_bytes):
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OSError(
            f"the features take {n_bytes / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free: "
            "name fewer layers, set a grid, or set TMPDIR to a larger disk"
        )


def gram_of_layers(view, images, *, n_train, batch_size=16, slab_bytes=SLAB_BYTES, costs=None):
    """Gram matrices of a network's layers, from one forward pass over the images.

    Memory is bounded by the batch's activations, one slab of `slab_bytes` and 8 n_images² bytes a layer, whatever the
    layers' width: features go to an unnamed temporary file (4 n_images n_features bytes a layer, in the folder that
    `TMPDIR` names) and come back in slabs of features. Slabs are multiplied in float32 and summed in float64.

    Parameters
    ----------
    view : View
    images : array of shape (n_images, 1 or 3, height, width), training images first; uint8, or float32 in [0, 1]
    n_train : number of training images, on which the features are centred
    costs : collections.Counter to which seconds ("forward", "spill", "product") and "bytes" on disk are added

    Returns
    -------
    layer -> float64 array of shape (n_images, n_images)

    Raises ValueError for a layer that is not there or does not run; OSError, after the first batch, if the disk has no
    room for the features.
    """
    costs = Counter() if costs is None else costs

    def reduced(name, output):
        if view.grid is not None:
            maps = architecture.to_maps(output, view.network, view.pixels or images.shape[2:])
            output = to_grid(maps, view.grid)
        return output.flatten(1)

    with spilled(view, images, reduced, batch_size=batch_size, costs=costs) as files:
        begin, device = time.perf_counter(), device_of(view.network)
        grams = {
            layer: _gram_of_file(file, len(images), n_train, device, slab_bytes) for layer, (file, _) in files.items()
        }
        costs["product"] += time.perf_counter() - begin
    return grams


def pixel_view(size=None):
    """The View that is no network: pixels themselves, averaged to size by size if given."""
    plain = Normalisation(mean=(0.0, 0.0, 0.0), sd=(1.0, 1.0, 1.0))
    return View(torch.nn.Identity(), [""], plain, grid=size, name=PIXELS)


def gram_of_pixels(images, *, n_train, size=None):
    """Gram matrix of the pixels, averaged to size by size if given. Parameters and result as in `gram_of_layers`."""
    return gram_of_layers(pixel_view(size), images, n_train=n_train)[""]
