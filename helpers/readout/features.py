"""Features of pixels and of a network's layers, as their Gram matrices K = X Xᵀ, in bounded memory; see gram.py."""

import contextlib
import re
import shutil
import tempfile
import time
from collections import Counter

import numpy as np
import torch

from helpers import models
from helpers.datasets.images import Normalisation, to_batch
from helpers.models.maps import to_grid, to_maps

# What blocks, which timm does not list, are called in its families: ResNet and its stem, EfficientNet, ViT, DenseNet,
# PNASNet, ConvNeXt and Swin, RegNet.
BLOCKS = re.compile(
    r"act1|layer\d\.\d+|blocks\.\d+\.\d+|blocks\.\d+|features\.denseblock\d+|cell_(stem_)?\d+"
    r"|(stages|layers)\.\d+\.blocks\.\d+|s\d\.b\d+"
)
# Networks whose blocks put channels or places in an order of their own, or return two branches: by timm's stages.
OWN_ORDER = {"CrossVit", "GlobalContextVit", "Hiera", "SwinTransformerV2Cr", "TNT", "TinyVit", "VisionTransformerSAM"}
# Side of the grid that feature maps are averaged to, with which sums of blocks predicted held-out images best: of V4
# recordings, by .003 over full features.
GRID = 7
SLAB_BYTES = 2**27  # features of all images that are in memory at once


class _AllSeen(Exception):
    """Every wanted layer has run: the rest of the forward pass is not needed."""


def default_layers(network):
    """Names of every block of a timm network, in order.

    Where blocks have names that are not known here, or are no maps: "stage.0" and so on, the stages that timm's
    `forward_intermediates` returns. Raises ValueError for a network that has neither.
    """
    modules = [name for name, _ in network.named_modules()]
    names = [name for name in modules if BLOCKS.fullmatch(name)]
    names = [name for name in names if not any(other.startswith(name + ".") for other in names)]
    stages = [stage["module"] for stage in getattr(network, "feature_info", [])]
    before_last = modules.index(stages[-2]) if len(stages) > 1 and stages[-2] in modules else 0
    reach_the_end = names and modules.index(names[-1]) >= before_last
    if not reach_the_end or type(network).__name__ in OWN_ORDER:
        names = [f"stage.{i}" for i in range(len(stages))]
    if not names:
        raise ValueError(f"no default layers for {type(network).__name__}: name its modules")
    return names


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
def spilled(network, images, layers, reduced, *, normalisation, pixels, batch_size, progress, costs):
    """One forward pass: dict layer -> (unnamed file of float32 features, image after image; shape of one image's)."""
    stages = {f"stage.{i}" for i in range(len(getattr(network, "feature_info", [])))}
    absent = set(layers) - stages - {name for name, _ in network.named_modules()}
    if absent:
        raise ValueError(f"{type(network).__name__} has no layers {sorted(absent)}")
    device, training = device_of(network), network.training
    network.eval()
    files, shapes = {layer: tempfile.TemporaryFile() for layer in layers}, {}
    try:
        for start in range(0, len(images), batch_size):
            clock = [time.perf_counter()]
            with torch.inference_mode():
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])).to(device)
                batch = to_batch(batch, normalisation)
                if pixels is not None:
                    batch = models.at_pixels(batch, pixels)
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
            if progress is not None:
                progress(start + len(batch), len(images))
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


def gram_of_layers(
    network,
    images,
    layers,
    *,
    normalisation,
    n_train,
    pixels=None,
    grid=None,
    batch_size=16,
    slab_bytes=SLAB_BYTES,
    progress=None,
    costs=None,
):
    """Gram matrices of a network's layers, from one forward pass over the images.

    Memory is bounded by the batch's activations, one slab of `slab_bytes` and 8 n_images² bytes a layer, whatever the
    layers' width: features go to an unnamed temporary file (4 n_images n_features bytes a layer, in the folder that
    `TMPDIR` names) and come back in slabs of features. Slabs are multiplied in float32 and summed in float64.

    Parameters
    ----------
    network : torch module; runs where it lies, in evaluation mode
    images : array of shape (n_images, 1 or 3, height, width), training images first; uint8, or float32 in [0, 1]
    layers : list of module names; the first output is taken of a module that runs several times
    normalisation : Normalisation that the network wants
    n_train : number of training images, on which the features are centred
    pixels : (height, width) that the network sees the images at, interpolated; None for their own
    grid : side of the grid that feature maps and patch tokens are averaged to; None for full features
    progress : called with (images done, n_images) after each batch
    costs : collections.Counter to which seconds ("forward", "spill", "product") and "bytes" on disk are added

    Returns
    -------
    layer -> float64 array of shape (n_images, n_images)

    Raises ValueError for a layer that is not there or does not run; OSError, after the first batch, if the disk has no
    room for the features.
    """
    costs = Counter() if costs is None else costs

    def reduced(name, output):
        if grid is not None:
            output = to_grid(to_maps(output, network, pixels or images.shape[2:]), grid)
        return output.flatten(1)

    passed = {"normalisation": normalisation, "pixels": pixels, "batch_size": batch_size, "progress": progress}
    with spilled(network, images, layers, reduced, **passed, costs=costs) as files:
        begin, device = time.perf_counter(), device_of(network)
        grams = {
            layer: _gram_of_file(file, len(images), n_train, device, slab_bytes) for layer, (file, _) in files.items()
        }
        costs["product"] += time.perf_counter() - begin
    return grams


def rectified_layers(network):
    """Names of the rectified features inside each block, after the depthwise convolution's batch norm; else the block.

    Names of blocks are those of `default_layers`.
    """
    modules = dict(network.named_modules())
    found = []
    for block in default_layers(network):
        names = [name for name, _ in modules[block].named_children()] if block in modules else []
        inside = f"{block}.{names[names.index('conv_dw') + 1]}" if "conv_dw" in names else block
        found.append(inside if isinstance(modules.get(inside), torch.nn.BatchNorm2d) else block)
    return found


def gram_of_pixels(images, *, n_train, size=None):
    """Gram matrix of the pixels, averaged to size by size if given. Parameters and result as in `gram_of_layers`."""
    plain = Normalisation(mean=(0.0, 0.0, 0.0), sd=(1.0, 1.0, 1.0))
    return gram_of_layers(torch.nn.Identity(), images, [""], normalisation=plain, n_train=n_train, grid=size)[""]
