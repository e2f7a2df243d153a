"""What one step of training is made of: a batch, the losses of heads that are trained, the optimiser and its step."""

import inspect
import warnings

import numpy as np
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from helpers.datasets.images import to_batch


def batches(index, size, n_processes=1):
    """An index in batches; a last one of under two images a process, too few for batch norm, joins the one before."""
    parts = list(index.split(size))
    if len(parts) > 1 and len(parts[-1]) < 2 * n_processes:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def make_batch(images, normalisation, index, *, translation=0, memory_format=torch.contiguous_format):
    return to_batch(images[index], normalisation, translation=translation).contiguous(memory_format=memory_format)


class TrainedHeads:
    """The network's own heads, trained with the backbone: mean squared error, and cross-entropy of the labels.

    Both losses of a recipe that standardises are divided by their values for the best constant prediction.
    """

    def __init__(self, model, targets, objects, fit_index, recipe, label_weight):
        self.module, self.targets, self.label_weight = model, targets, label_weight
        if label_weight is not None:
            self.labels = classes(objects).to(targets.device)
            self.constant_loss = label_entropy(objects[fit_index]) if recipe.standardised else 1.0

    def losses(self, output, batch):
        """Neural and label loss of every image of a batch, each (b,)."""
        predicted, logits = output
        neural = (predicted.float() - self.targets[batch]).square().mean(1)
        if self.label_weight is None:
            return neural, torch.zeros_like(neural)
        labels = nn.functional.cross_entropy(logits.float(), self.labels[batch], reduction="none")
        return neural, labels / self.constant_loss


def classes(objects):
    """Number of each image's object among the sorted names, a tensor (n_images,)."""
    return torch.from_numpy(np.unique(objects, return_inverse=True)[1])


def label_entropy(objects):
    """Cross-entropy in nats of the best constant prediction of the labels."""
    share = np.unique(objects, return_counts=True)[1] / len(objects)
    return float(-(share * np.log(share)).sum()) or 1.0


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


class LossScaling:
    """Steps of an optimiser, in float16 on scaled losses; a step whose gradients overflow changes nothing.

    state_dict, load_state_dict : of the scale, for checkpoints
    """

    def __init__(self, device, dtype):
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.n_steps, self.n_skipped = 0, torch.zeros((), dtype=torch.long, device=device)
        self.state_dict, self.load_state_dict = self.scaler.state_dict, self.scaler.load_state_dict

    def backward_and_step(self, loss, optimiser, parameters, clip):
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
