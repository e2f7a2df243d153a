"""CPU or CUDA, and the number type that is fast there: decided here alone."""

import functools
import platform
import re
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn


@functools.cache
def accelerator():
    """The process's one Accelerator: device, and the processes that train together.

    CUDA, else the CPU: Apple's MPS, which Accelerate would take, lacks the adaptive pooling from 16 to 7 pixels.
    """
    torch.backends.cudnn.benchmark = True  # batches keep their shape: the fastest convolution is looked for once
    # whatever the user's configuration says: `precision` decides
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")


def hardware():
    """The machine in a few words, for the tables."""
    if accelerator().device.type == "cuda":
        return torch.cuda.get_device_name()
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpu.read_text(encoding="utf-8")) if cpu.exists() else None
    name, n_threads = model[1] if model else platform.processor() or platform.machine(), torch.get_num_threads()
    return f"{name}, {n_threads} thread{'' if n_threads == 1 else 's'}"


def precision(model, device):
    """Number type and memory format a family trains fastest in, decided here only (measured by benchmarks/training.py).

    Convolutional backbones are faster channels-last; bfloat16 pays on a GPU and, on a CPU that multiplies in it, for
    all but depthwise-separable backbones. These leave float16's range too, so a GPU without bfloat16 (not measured:
    none could be had) trains them in float32.
    """
    backbone = getattr(model, "backbone", None)
    convolutional = backbone is not None and not hasattr(backbone, "patch_embed")
    memory_format = torch.channels_last if convolutional else torch.contiguous_format
    depthwise = backbone is not None and any(m.groups > 1 for m in backbone.modules() if isinstance(m, nn.Conv2d))
    half = half_precision(device)
    if depthwise and half != torch.bfloat16 or device.type == "cpu" and (backbone is None or depthwise):
        half = None
    return half or torch.float32, memory_format


def half_precision(device):
    """The 16-bit number type that a device multiplies fast in, or None."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None
