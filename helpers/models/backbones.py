"""Any timm network, built for the image size asked for or the next one that it takes."""

import difflib
import functools
import itertools
import math
import sys

import timm
import torch
from timm.layers import to_2tuple
from torch.nn.functional import interpolate

STEP = 32  # sizes between the images' and a network's own are tried in steps of so many pixels


def check_tag(tag):
    """Raises ValueError with the closest names for a tag that timm does not know."""
    name = tag.partition(".")[0]
    try:
        known = timm.is_model(name) and timm.get_pretrained_cfg(tag)
    except RuntimeError:  # the network is there, the weights' part of the tag is not
        expected = difflib.get_close_matches(tag, timm.list_models(f"{name}.*", pretrained=True), n=3, cutoff=0)
        raise ValueError(f"{tag}: timm has no weights of this name; expected {' or '.join(expected)}.") from None
    if not known:
        expected = difflib.get_close_matches(name, timm.list_models(), n=3) or ["a full tag, such as resnet50.tv_in1k"]
        raise ValueError(f"{tag}: timm has no network of this name; expected {' or '.join(expected)}.")


def create(tag, pixels, **arguments):
    """A timm network without classifier and with random weights.

    Parameters
    ----------
    tag : full timm name
    pixels : (height, width) of the images
    arguments : further ones of timm.create_model

    Returns
    -------
    network : nn.Module, `network(images)` -> (b, n_features), where images have (height, width) `network.input_pixels`:
        `pixels` where it takes them; else the next multiples of its patch; else a larger size; else its own, which is
        that of networks whose tensors depend on it. See `at_pixels`.

    Raises ValueError for a tag that timm does not know.
    """
    check_tag(tag)
    is_fixed = timm.get_pretrained_cfg(tag).fixed_input_size
    size, sized = _fixed_size(tag, tuple(pixels)) if is_fixed else (None, {})
    network = timm.create_model(tag, pretrained=False, num_classes=0, **arguments, **sized)
    network.input_pixels = size or next(size for size in _sizes(tag, tuple(pixels)) if takes(network, size))
    return network


def at_pixels(images, pixels):
    """Images (b, 3, h, w) interpolated to `pixels`, or as they are if they have this size."""
    if tuple(images.shape[2:]) == tuple(pixels):
        return images
    return interpolate(images, tuple(pixels), mode="bilinear", antialias=True, align_corners=False)


def spread(network, n_stages):
    """Indices of so many of a timm network's stages, as `forward_intermediates` counts them.

    The last ones of a network whose maps shrink from stage to stage, evenly spaced ones of one that keeps their size.
    """
    n_all = len(network.feature_info)
    n_stages = min(n_stages, n_all)
    if len({stage["reduction"] for stage in network.feature_info}) > 1:
        return tuple(range(n_all - n_stages, n_all))
    return tuple((i + 1) * n_all // n_stages - 1 for i in range(n_stages))


@functools.cache
def _fixed_size(tag, pixels):
    """Size of the images for a network that is built for one, and the arguments that build it for this."""
    with torch.device("meta"):  # shapes alone
        own = timm.create_model(tag, pretrained=False, num_classes=0)
        patch = to_2tuple(getattr(getattr(own, "patch_embed", None), "patch_size", 1))
        first = tuple(math.ceil(side / step) * step for side, step in zip(pixels, patch, strict=True))
        *others, last = _sizes(tag, first)
        for size in others:
            try:
                sized = timm.create_model(tag, pretrained=False, num_classes=0, img_size=size)
            except TypeError:  # one that has no such argument
                break
            if takes(sized, size):
                if _weights_fit(own, sized):
                    return size, {"img_size": size}
                break
    return last, {}


def _sizes(tag, pixels):
    """Sizes to try: the images', larger ones of about their shape, and at last the network's own."""
    own = tuple(timm.get_pretrained_cfg(tag).input_size[1:])
    yield pixels
    for shorter in itertools.count((min(pixels) // STEP + 1) * STEP, STEP):
        if shorter >= max(own):
            break
        yield tuple(math.ceil(side * shorter / min(pixels) / STEP) * STEP for side in pixels)
    yield own


def takes(network, size):
    """Whether a network takes images of this size. Raises torch.OutOfMemoryError where that is not known."""
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, *size, device=next(network.parameters()).device))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, AssertionError):
        return False
    finally:
        network.train(was_training)
    return True


def _weights_fit(own, sized):
    """Whether weights of the network at its own size fit it at another: timm resamples position embeddings alone."""
    found, wanted = dict(own.state_dict()), sized.state_dict()
    if convert := getattr(sys.modules[type(sized).__module__], "checkpoint_filter_fn", None):
        try:
            found = convert(found, sized)
        except Exception:  # whatever a filter raises of tensors that it cannot resample
            return False
    return all(name in found and found[name].shape == tensor.shape for name, tensor in wanted.items())
