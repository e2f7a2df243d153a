"""Training: one loop for all stages, and checkpoints from which a killed run goes on bit for bit.

All randomness of an epoch (order, translations, dropout) is drawn from (seed, epoch), so a checkpoint at the end of an
epoch needs no random state. Images, responses and labels lie on the device; a step copies and waits for nothing.
"""

import pickle
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from torch import nn

from helpers import cache
from helpers.datasets.images import to_batch
from helpers.device import accelerator, precision
from helpers.training.heads import RidgeHeads, TrainedHeads
from helpers.training.recipe import make_optimiser

CHECKPOINT_SECONDS = 30.0


def fit(
    model,
    dataset,
    recipe,
    *,
    seed,
    normalisation,
    pretrained=False,
    label_weight=None,
    fit_index=None,
    held_out_index=None,
    held_out_score=None,
    checkpoint=None,
    progress=None,
):
    """Train `model` in place on training images of `dataset`.

    Parameters
    ----------
    model : ShallowCNN or Encoder; afterwards its neuron head predicts responses in the units of the file.
    dataset : Dataset
    recipe : Recipe
    seed : int
    normalisation : Normalisation of the inputs
    pretrained : whether the backbone's weights deserve protection (see Recipe)
    label_weight : weight of the object labels' loss beside the neural loss; None for one objective.
    fit_index : training images to fit; None for all.
    held_out_index : training images to score after each epoch; None for none. Never val.
    held_out_score : function of their responses and predictions, in the units of the file; returns a number.
    checkpoint : path to continue from, if it exists, and to write, or None.
    progress : called after each epoch with (epochs done, epochs, the epoch's entry of `history`)

    Returns
    -------
    history : list of dict, one an epoch: neural_loss, label_loss, seconds and, with `held_out_index`,
        held_out_explained_variance.
        The losses are those of the epoch's steps, in the recipe's units.
    """
    run = accelerator()
    device = run.device
    fit_index = np.arange(len(dataset.train.images)) if fit_index is None else np.asarray(fit_index)
    images = torch.from_numpy(dataset.train.images).to(device)
    responses = torch.from_numpy(dataset.train.responses).to(device)
    mean, sd = scale_of(responses[fit_index]) if recipe.standardised else (0 * responses[0], 0 * responses[0] + 1)
    dtype, memory_format = precision(model, device)
    model.to(device=device, memory_format=memory_format)
    if device.type == "cuda" and run.num_processes > 1:
        convert_sync_batchnorm(model)
    kind = RidgeHeads if recipe.ridge_heads else TrainedHeads
    heads = kind(model, (responses - mean) / sd, dataset.train.objects, fit_index, recipe, label_weight)
    if recipe.ridge_heads and not pretrained:
        set_batch_norm(model, images[fit_index], normalisation)
    state = _State.fresh(heads.module, make_optimiser(heads.module, recipe, pretrained), device, dtype)
    wrapped = run.prepare(heads.module) if run.num_processes > 1 else heads.module
    if checkpoint:
        state.take_up(checkpoint)
    steps = len(batches(torch.arange(len(fit_index)), recipe.batch_size, run.num_processes))
    scheduler = recipe.schedule.scheduler(state.optimiser, recipe.epochs * steps, steps)
    translation = round(recipe.translation * images.shape[-2])

    def losses(whole_batch):
        """Neural and label loss of this process's share of a batch; their means over processes are the batch's."""
        batch, weight = _share(whole_batch, run.process_index, run.num_processes)
        inputs = make_batch(images, normalisation, batch, translation=translation, memory_format=memory_format)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            output = wrapped(inputs)
        neural, label = heads.losses(output, batch)
        return neural.sum() * weight, label.sum() * weight

    began = saved_at = time.monotonic()
    if recipe.ridge_heads:
        heads.renew(extract(model, images[fit_index], normalisation))
    for epoch in range(len(state.history), recipe.epochs):
        _train_mode(model, batch_norm_at_rest=recipe.ridge_heads)
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(fit_index)).to(device)
        torch.manual_seed((seed * 1000 + epoch) * 64 + run.process_index)
        sums = torch.zeros(2, device=device)
        for step, whole_batch in enumerate(batches(order, recipe.batch_size, run.num_processes), epoch * steps):
            scheduler.step_update(step)
            neural, label = losses(whole_batch)
            state.step(neural if label_weight is None else neural + label_weight * label, recipe.clip)
            sums += torch.stack([neural.detach(), label.detach()]) * len(whole_batch)
        neural_loss, label_loss = (run.reduce(sums, "mean") / len(fit_index)).tolist()
        state.history.append({"neural_loss": neural_loss, "label_loss": label_loss})
        if recipe.ridge_heads:
            heads.renew(extract(model, images[fit_index], normalisation))
        if held_out_index is not None:
            score = _score(model, dataset, held_out_index, normalisation, (mean, sd), held_out_score)
            state.history[-1]["held_out_explained_variance"] = score
        ended = time.monotonic()
        state.history[-1]["seconds"], began = ended - began, ended
        if progress:
            progress(epoch + 1, recipe.epochs, state.history[-1])
        due = time.monotonic() - saved_at >= CHECKPOINT_SECONDS and epoch + 1 < recipe.epochs
        if checkpoint and due and run.is_main_process:
            state.save(checkpoint)
            saved_at = time.monotonic()
    if wrapped is not heads.module:
        run.free_memory()  # else it keeps every network that it ever wrapped
    with torch.no_grad():  # fold the responses' scale into the head
        head = model.neuron_head
        head.weight.mul_(sd[:, None])
        head.bias.mul_(sd).add_(mean)
    return state.history


def _score(model, dataset, index, normalisation, scale, held_out_score):
    """Score of training images in the units of the file; NaN for a run that has diverged."""
    predicted, _ = predict(model, dataset.train.images[index], normalisation)
    if not np.isfinite(predicted).all():
        return float("nan")
    mean, sd = (part.cpu().numpy() for part in scale)
    return held_out_score(dataset.train.responses[index], predicted * sd + mean)


@dataclass
class _State:
    """What a checkpoint holds: enough to go on from the end of an epoch. Heads by ridge follow from the backbone."""

    model: nn.Module  # what the optimiser trains
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    history: list

    @classmethod
    def fresh(cls, model, optimiser, device, dtype):
        return cls(model, optimiser, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16), [])

    def step(self, loss, clip):
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def _parts(self):
        return {"model": self.model, "optimiser": self.optimiser, "scaler": self.scaler}

    def save(self, path):
        saved = {name: part.state_dict() for name, part in self._parts().items()} | {"history": self.history}
        cache.write_whole(path, lambda path: torch.save(saved, path))

    def take_up(self, path):
        """Go on from a checkpoint, if there is one."""
        if saved := load_checkpoint(path):
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
            self.history = saved["history"]


def scale_of(responses):
    """Mean and sd per neuron, each (n_neurons,); the sd of a constant neuron is given as 1."""
    sd = responses.std(0, correction=0)
    return responses.mean(0), torch.where(sd > 0, sd, torch.ones_like(sd))


def _train_mode(model, *, batch_norm_at_rest):
    model.train()
    if batch_norm_at_rest:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _share(batch, rank, world):
    """This process's images of a batch, every world-th, and the weight that makes the gradients' mean the batch's."""
    return batch[rank::world], world / len(batch)


def batches(index, size, n_processes=1):
    """An index in batches; a last one of under two images a process, too few for batch norm, joins the one before."""
    parts = list(index.split(size))
    if len(parts) > 1 and len(parts[-1]) < 2 * n_processes:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


@torch.no_grad()
def predict(model, images, normalisation, *, batch_size=64):
    """Predicted responses (n_images, n_neurons), float32, and object logits (n_images, n_objects) or None."""
    device = next(model.parameters()).device
    dtype, memory_format = precision(model, device)
    was_training = model.training
    model.eval()
    resident = torch.from_numpy(images).to(device)
    responses, logits = [], []
    for index in torch.arange(len(images), device=device).split(batch_size):
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            predicted, scores = model(make_batch(resident, normalisation, index, memory_format=memory_format))
        responses.append(predicted.float())
        logits += [scores.float()] if scores is not None else []
    model.train(was_training)
    return torch.cat(responses).cpu().numpy(), torch.cat(logits).cpu().numpy() if logits else None


@torch.no_grad()
def extract(model, images, normalisation):
    """Features (n_images, n_features), float32, of resident images, in the number type that the network trains in."""
    model.eval()
    dtype, memory_format = precision(model, images.device)
    features = torch.empty(len(images), sum(model.features.widths), device=images.device)
    for index in torch.arange(len(images), device=images.device).split(64):
        batch = make_batch(images, normalisation, index, memory_format=memory_format)
        with torch.autocast(images.device.type, dtype=dtype, enabled=dtype != torch.float32):
            features[index] = model.features(batch).float()
    return features


def set_batch_norm(model, images, normalisation):
    """Give the batch norms of a random backbone, which know no images yet, the statistics of resident images."""
    indices = batches(torch.arange(len(images), device=images.device), 64)
    torch.optim.swa_utils.update_bn((make_batch(images, normalisation, index) for index in indices), model)


def make_batch(images, normalisation, index, *, translation=0, memory_format=torch.contiguous_format):
    return to_batch(images[index], normalisation, translation=translation).contiguous(memory_format=memory_format)


def load_checkpoint(path):
    """The saved state, or None where there is none; a damaged file is set aside with a warning."""
    path = Path(path)
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        cache.set_aside(path, error)
        return None
