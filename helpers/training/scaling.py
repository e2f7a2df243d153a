"""Loss scaling of float16: which steps are skipped, and when so many are that a training is none."""

import warnings

import torch
from torch import nn


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
