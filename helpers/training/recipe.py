"""Recipes as data: epochs, rates and schedules, batches, augmentation, heads; the optimiser they ask for."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from timm.optim import param_groups_layer_decay
from timm.scheduler import CosineLRScheduler, StepLRScheduler
from timm.scheduler.scheduler import Scheduler

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

    Parameters of equal rate and decay are one group: a step launches kernels group by group. Raises ValueError where
    the recipe's optimiser is a partial that sets rate or decay, which are the recipe's.
    """
    options, positional = getattr(recipe.optimiser, "keywords", {}), getattr(recipe.optimiser, "args", ())
    if given := sorted({"lr", "weight_decay"} & options.keys()) or ["what has no name"] * bool(positional):
        raise ValueError(f"{' and '.join(given)} in the optimiser's options; expected rate and decay in the recipe")
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
    takes_fused = "fused" in inspect.signature(recipe.optimiser).parameters
    fused = {"fused": True} if takes_fused and not {"fused", "foreach", "differentiable"} & options.keys() else {}
    return recipe.optimiser(groups, lr=recipe.learning_rate, **fused)
