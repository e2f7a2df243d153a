"""Recipes as data: epochs, rates and schedules, batches, augmentation, heads."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from timm.scheduler import CosineLRScheduler, StepLRScheduler
from timm.scheduler.scheduler import Scheduler


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
    """How a network is trained. `experiments/networks_and_recipes.py` declares the published and the repaired ones.

    `layer_decay` protects pretrained features and is ignored for random weights.
    """

    epochs: int
    learning_rate: float = 1e-3
    layer_decay: float = 1.0  # factor from one block of the backbone to the block before it
    optimiser: Callable = torch.optim.AdamW  # of torch.optim, or a partial with options but rate and decay
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
