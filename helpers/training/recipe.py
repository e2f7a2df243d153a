"""Recipes as data: epochs, rates and schedules, batches, augmentation, heads; the optimiser they ask for, its steps."""

import warnings
from dataclasses import dataclass

import torch
from timm.optim import param_groups_layer_decay
from timm.scheduler import CosineLRScheduler, StepLRScheduler
from timm.scheduler.scheduler import Scheduler
from torch import nn

from helpers.datasets.images import to_batch


@dataclass(frozen=True)
class Step:
    """Multiply the learning rate by `factor` after every `epochs` epochs."""

    epochs: int
    factor: float

    def scheduler(self, optimiser, total_steps, steps_per_epoch):
        return StepLRScheduler(optimiser, self.epochs * steps_per_epoch, self.factor, t_in_epochs=False)


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up over `warmup` epochs, then a half cosine to zero at the recipe's last."""

    warmup: float = 1.0

    def scheduler(self, optimiser, total_steps, steps_per_epoch):
        warmup = min(round(self.warmup * steps_per_epoch), total_steps - 1)
        return CosineLRScheduler(
            optimiser, total_steps - warmup, warmup_t=warmup, warmup_prefix=True, t_in_epochs=False
        )


@dataclass(frozen=True)
class PerEpoch:
    """The learning rate of each epoch as a share of the recipe's."""

    factors: tuple[float, ...]

    def scheduler(self, optimiser, total_steps, steps_per_epoch):
        return _PerEpochScheduler(optimiser, self.factors, steps_per_epoch)


class _PerEpochScheduler(Scheduler):
    def __init__(self, optimiser, factors, steps_per_epoch):
        super().__init__(optimiser, "lr", t_in_epochs=False)
        self.factors, self.steps_per_epoch = factors, steps_per_epoch

    def _get_lr(self, step):
        return [value * self.factors[step // self.steps_per_epoch] for value in self.base_values]


CONSTANT = Step(epochs=1, factor=1.0)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. `experiments/rows.py` declares the published and the repaired ones.

    `layer_decay` protects pretrained features and is ignored for random weights.
    """

    epochs: int
    learning_rate: float = 1e-3
    layer_decay: float = 1.0  # factor from one block of the backbone to the block before it
    optimiser: type = torch.optim.AdamW
    weight_decay: float = 0.05
    schedule: Step | Cosine | PerEpoch = Cosine()
    batch_size: int = 32
    clip: float = 1.0  # largest norm of the gradient; at 1 in the published training function too
    translation: float = 0.0  # largest random translation, as a share of the image's height
    standardised: bool = True  # responses to unit variance per neuron, each loss divided by its value for a constant
    # Heads by ridge before every epoch, at rest within it, as is batch norm: so many, each on all inner folds but one,
    # and an image's loss goes through the head that has not seen it; 1: a single head that has seen all images; 0:
    # heads that are trained with the backbone.
    ridge_heads: int = 0


def batches(index, size, n_processes=1):
    """An index in batches; a last one of under two images a process, too few for batch norm, joins the one before."""
    parts = list(index.split(size))
    if len(parts) > 1 and len(parts[-1]) < 2 * n_processes:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def make_batch(images, normalisation, index, *, translation=0, memory_format=torch.contiguous_format):
    return to_batch(images[index], normalisation, translation=translation).contiguous(memory_format=memory_format)


def make_optimiser(model, recipe, pretrained):
    """The recipe's optimiser; groups carry timm's `lr_scale`, which its schedulers multiply into the rate.

    Parameters of equal rate and decay are one group: a step launches kernels group by group.
    """
    backbone = getattr(model, "backbone", None)
    groups = {}  # (lr_scale, weight_decay) -> parameters
    if backbone is not None:
        decay = recipe.layer_decay if pretrained else 1.0
        for group in param_groups_layer_decay(
            backbone, recipe.weight_decay, layer_decay=decay, weight_decay_exclude_1d=recipe.standardised
        ):
            groups.setdefault((group["lr_scale"], group["weight_decay"]), []).extend(group["params"])
    of_backbone = {id(p) for parameters in groups.values() for p in parameters}
    if heads := [p for p in model.parameters() if id(p) not in of_backbone]:
        groups.setdefault((1.0, recipe.weight_decay), []).extend(heads)
    groups = [{"params": params, "lr_scale": scale, "weight_decay": wd} for (scale, wd), params in groups.items()]
    return recipe.optimiser(groups, lr=recipe.learning_rate, fused=True)


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
