"""Recipes as data: epochs, rates and schedules, batches, augmentation, averaging; the optimiser they ask for."""

from dataclasses import dataclass, replace

import torch
from timm.optim import param_groups_layer_decay
from timm.scheduler import CosineLRScheduler, StepLRScheduler


@dataclass(frozen=True)
class Step:
    """Multiply the learning rate by `factor` after every `epochs` epochs."""

    epochs: int
    factor: float

    def scheduler(self, optimiser, total_steps, steps_per_epoch):
        return StepLRScheduler(optimiser, self.epochs * steps_per_epoch, self.factor, t_in_epochs=False)

    def shortened(self, share):
        return replace(self, epochs=max(1, round(self.epochs * share)))


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up over `warmup` epochs, then a half cosine to zero at epoch `end` (None: the recipe's last)."""

    warmup: float = 1.0
    end: float | None = None

    def scheduler(self, optimiser, total_steps, steps_per_epoch):
        end = round(self.end * steps_per_epoch) if self.end else total_steps
        warmup = min(round(self.warmup * steps_per_epoch), end - 1)
        return CosineLRScheduler(optimiser, end - warmup, warmup_t=warmup, warmup_prefix=True, t_in_epochs=False)

    def shortened(self, share):
        return replace(self, warmup=self.warmup * share, end=self.end and self.end * share)


CONSTANT = Step(epochs=1, factor=1.0)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The defaults are a plain repaired recipe; `experiments/rows.py` declares the published
    ones.

    `backbone_rate`, `layer_decay` and `frozen_batch_norm` protect pretrained features and are ignored for random
    weights.
    """

    epochs: int
    learning_rate: float = 1e-3  # of the heads
    label_rate: float | None = None  # of the object head, if it is another
    backbone_rate: float = 1.0  # learning rate of the backbone as a share of the heads'
    layer_decay: float = 1.0  # factor from one block of the backbone to the block before it
    optimiser: type = torch.optim.AdamW
    weight_decay: float = 0.05
    schedule: Step | Cosine = Cosine()
    batch_size: int = 32
    clip: float = 1.0  # largest norm of the gradient
    translation: float = 0.0  # largest random translation, as a share of the image's height
    ema: float = 0.0  # decay of the exponential moving average of the weights; 0 for none
    standardised: bool = True  # responses to unit variance per neuron, each loss divided by its value for a constant
    frozen_batch_norm: bool = False  # batch norm with the pretrained statistics
    linear_probe_start: bool = False  # neuron head starts from the ridge solution on the untrained backbone


def make_optimiser(model, recipe, pretrained):
    """The recipe's optimiser; groups carry timm's `lr_scale`, which its schedulers multiply into the rate."""
    backbone = getattr(model, "backbone", None)
    backbone_ids = {id(p) for p in backbone.parameters()} if backbone is not None else set()
    labels = getattr(model, "object_head", None)
    label_ids = {id(p) for p in labels.parameters()} if labels is not None else set()
    heads = [p for p in model.parameters() if id(p) not in backbone_ids | label_ids]
    groups = [{"params": heads, "lr_scale": 1.0, "weight_decay": recipe.weight_decay}]
    if labels is not None:
        scale = (recipe.label_rate or recipe.learning_rate) / recipe.learning_rate
        groups.append({"params": list(labels.parameters()), "lr_scale": scale, "weight_decay": recipe.weight_decay})
    if backbone is not None:
        rate, decay = (recipe.backbone_rate, recipe.layer_decay) if pretrained else (1.0, 1.0)
        for group in param_groups_layer_decay(
            backbone, recipe.weight_decay, layer_decay=decay, weight_decay_exclude_1d=recipe.standardised
        ):
            keep = {"params": group["params"], "weight_decay": group["weight_decay"]}
            groups.append(keep | {"lr_scale": rate * group["lr_scale"]})
    return recipe.optimiser(groups, lr=recipe.learning_rate, fused=True)
