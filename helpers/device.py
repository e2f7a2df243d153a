"""CPU or CUDA, and the number type that is fast there: decided here alone; float16's losses are scaled here too."""

import functools
import platform
import re
import warnings
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


class LossScaling:
    """Steps of an optimiser, in float16 on scaled losses; a step whose gradients overflow changes nothing.

    state_dict, load_state_dict : of the scale, for checkpoints
    """

    def __init__(self, device, dtype):
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.n_steps, self.n_skipped = 0, torch.zeros((), dtype=torch.long, device=device)
        self.state_dict, self.load_state_dict = self.scaler.state_dict, self.scaler.load_state_dict

    def step(self, loss, optimiser, parameters, clip):
        """Backwards from a loss, and one step with gradients of at most the norm `clip`; waits for no device."""
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimiser)
        norm = nn.utils.clip_grad_norm_(parameters, clip)
        self.n_steps += 1
        self.n_skipped += ~norm.isfinite()
        self.scaler.step(optimiser)
        self.scaler.update()

    def of_epoch(self, epoch):
        """What became of the steps since the last call: n_steps, n_skipped, loss_scale; empty but for float16.

        Warns where all were skipped.
        """
        found = {"n_steps": self.n_steps, "n_skipped": int(self.n_skipped), "loss_scale": self.scaler.get_scale()}
        self.n_steps = 0
        self.n_skipped.zero_()
        if not self.scaler.is_enabled():
            return {}
        if found["n_steps"] == found["n_skipped"]:
            warnings.warn(f"epoch {epoch + 1}: all steps were skipped, {_why(found['loss_scale'])}", stacklevel=4)
        return found


def _why(loss_scale):
    return f"as gradients overflow float16 (loss scale {loss_scale:.2g})"


def scaling_of(history):
    """Steps, skipped steps and last loss scale of a whole training, from loop.fit's history; empty but for float16.

    Raises ValueError where most steps were skipped: the predictions would be those of the start.
    """
    if not history or "n_skipped" not in history[-1]:
        return {}
    n_steps, n_skipped = (sum(epoch[key] for epoch in history) for key in ("n_steps", "n_skipped"))
    if 2 * n_skipped > n_steps:
        found = f"{n_skipped} of {n_steps} steps were skipped, {_why(history[-1]['loss_scale'])}"
        raise ValueError(f"{found}; expected a GPU with bfloat16, or none (CUDA_VISIBLE_DEVICES='').")
    return {"n_steps": n_steps, "n_skipped": n_skipped, "loss_scale": history[-1]["loss_scale"]}
