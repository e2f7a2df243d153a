"""CPU or CUDA, and the number type that is fast there: decided here alone."""

import functools

import torch
from accelerate import Accelerator
from torch import nn


@functools.cache
def accelerator():
    """The process's one Accelerator: device, and the processes that train together."""
    return Accelerator(mixed_precision="no")  # whatever the user's configuration says: `precision` decides


def precision(model, device):
    """Number type and memory format a family trains fastest in, decided here only (measured by benchmarks/training.py).

    Convolutional backbones are faster channels-last; bfloat16 pays on a GPU and, on a CPU that multiplies in it, for
    all but depthwise-separable backbones.
    """
    backbone = getattr(model, "backbone", None)
    convolutional = backbone is not None and not hasattr(backbone, "patch_embed")
    memory_format = torch.channels_last if convolutional else torch.contiguous_format
    depthwise = convolutional and any(m.groups > 1 for m in backbone.modules() if isinstance(m, nn.Conv2d))
    half = half_precision(device)
    if device.type == "cpu" and (backbone is None or depthwise):
        half = None
    return half or torch.float32, memory_format


def half_precision(device):
    """The 16-bit number type that a device multiplies fast in, or None."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None
