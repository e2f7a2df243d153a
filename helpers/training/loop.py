"""Training: one loop for all stages, and checkpoints from which a killed run goes on bit for bit.

All randomness of an epoch (order, translations, dropout) is drawn from (seed, epoch), so a checkpoint at the end of an
epoch needs no random state. Images, responses and labels lie on the device; a step copies and waits for nothing.
"""

import pickle
import time
from pathlib import Path

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from torch import nn

from helpers import cache
from helpers.datasets.images import to_batch
from helpers.device import accelerator, precision
from helpers.training.heads import RidgeHeads, TrainedHeads
from helpers.training.recipe import LossScaling, make_optimiser

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
    history : list of dict, one an epoch: neural_loss and label_loss of its steps, in the recipe's units, seconds and,
        with `held_out_index`, held_out_explained_variance; in float16 what LossScaling.of_epoch says.
    """
    training = _Training(model, dataset, recipe, seed, normalisation, pretrained, label_weight, fit_index)
    if checkpoint:
        training.take_up(checkpoint)
    began = saved_at = time.monotonic()
    training.renew_heads()
    for epoch in range(len(training.history), recipe.epochs):
        entry = training.epoch(epoch)
        training.renew_heads()
        if held_out_index is not None:
            entry["held_out_explained_variance"] = training.score(dataset.train, held_out_index, held_out_score)
        ended = time.monotonic()
        entry["seconds"], began = ended - began, ended
        training.history.append(entry)
        if progress:
            progress(epoch + 1, recipe.epochs, entry)
        if checkpoint and ended - saved_at >= CHECKPOINT_SECONDS and epoch + 1 < recipe.epochs:
            training.save(checkpoint)
            saved_at = time.monotonic()
    return training.finish()


class _Training:
    """A network's training under way: what lies on the device, what an epoch does, what a checkpoint holds."""

    def __init__(self, model, dataset, recipe, seed, normalisation, pretrained, label_weight, fit_index):
        self.run = run = accelerator()
        self.model, self.recipe, self.seed, self.normalisation = model, recipe, seed, normalisation
        self.label_weight, self.history = label_weight, []
        self.fit_index = np.arange(len(dataset.train.images)) if fit_index is None else np.asarray(fit_index)
        self.images = torch.from_numpy(dataset.train.images).to(run.device)
        responses = torch.from_numpy(dataset.train.responses).to(run.device)
        self.mean, self.sd = 0 * responses[0], 0 * responses[0] + 1
        if recipe.standardised:
            self.mean, self.sd = scale_of(responses[self.fit_index])
        self.dtype, self.memory_format = precision(model, run.device)
        model.to(device=run.device, memory_format=self.memory_format)
        if run.device.type == "cuda" and run.num_processes > 1:
            convert_sync_batchnorm(model)
        kind, targets = RidgeHeads if recipe.ridge_heads else TrainedHeads, (responses - self.mean) / self.sd
        self.heads = kind(model, targets, dataset.train.objects, self.fit_index, recipe, label_weight)
        if recipe.ridge_heads and not pretrained:
            set_batch_norm(model, self.images[self.fit_index], normalisation)
        self.optimiser = make_optimiser(self.heads.module, recipe, pretrained)
        self.scaler = LossScaling(run.device, self.dtype)
        self.wrapped = run.prepare(self.heads.module) if run.num_processes > 1 else self.heads.module
        self.n_steps = len(batches(torch.arange(len(self.fit_index)), recipe.batch_size, run.num_processes))
        self.scheduler = recipe.schedule.scheduler(self.optimiser, recipe.epochs * self.n_steps, self.n_steps)
        self.translation = round(recipe.translation * self.images.shape[-2])

    def renew_heads(self):
        """Fit heads by ridge to the backbone as it is now."""
        if self.recipe.ridge_heads:
            self.heads.renew(extract(self.model, self.images[self.fit_index], self.normalisation))

    def losses(self, whole_batch):
        """Neural and label loss of this process's share of a batch; their means over processes are the batch's."""
        batch, weight = _share(whole_batch, self.run.process_index, self.run.num_processes)
        how = {"translation": self.translation, "memory_format": self.memory_format}
        inputs = make_batch(self.images, self.normalisation, batch, **how)
        with torch.autocast(self.run.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            output = self.wrapped(inputs)
        neural, label = self.heads.losses(output, batch)
        return neural.sum() * weight, label.sum() * weight

    def epoch(self, epoch):
        """Train on every image once: dict of the steps' mean losses."""
        _train_mode(self.model, batch_norm_at_rest=self.recipe.ridge_heads)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.fit_index)
        order = torch.from_numpy(order).to(self.run.device)
        torch.manual_seed((self.seed * 1000 + epoch) * 64 + self.run.process_index)
        sums = torch.zeros(2, device=self.run.device)
        whole_batches = batches(order, self.recipe.batch_size, self.run.num_processes)
        for step, whole_batch in enumerate(whole_batches, epoch * self.n_steps):
            self.scheduler.step_update(step)
            neural, label = self.losses(whole_batch)
            loss = neural if self.label_weight is None else neural + self.label_weight * label
            self.optimiser.zero_grad(set_to_none=True)
            self.scaler.step(loss, self.optimiser, self.heads.module.parameters(), self.recipe.clip)
            sums += torch.stack([neural.detach(), label.detach()]) * len(whole_batch)
        neural_loss, label_loss = (self.run.reduce(sums, "mean") / len(self.fit_index)).tolist()
        return {"neural_loss": neural_loss, "label_loss": label_loss} | self.scaler.of_epoch(epoch)

    def score(self, split, index, held_out_score):
        """Score of held-out images in the units of the file; NaN for a run that has diverged."""
        predicted, _ = predict(self.model, split.images[index], self.normalisation)
        if not np.isfinite(predicted).all():
            return float("nan")
        return held_out_score(split.responses[index], predicted * self.sd.cpu().numpy() + self.mean.cpu().numpy())

    def _parts(self):
        # not the heads by ridge, which follow from the backbone
        return {"model": self.heads.module, "optimiser": self.optimiser, "scaler": self.scaler}

    def save(self, path):
        if self.run.is_main_process:
            saved = {name: part.state_dict() for name, part in self._parts().items()} | {"history": self.history}
            cache.write_whole(path, lambda path: torch.save(saved, path))

    def take_up(self, path):
        """Go on from a checkpoint, if there is one."""
        if saved := load_checkpoint(path):
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
            self.history = saved["history"]

    @torch.no_grad()
    def finish(self):
        """Fold the responses' scale into the neuron head; the history."""
        if self.wrapped is not self.heads.module:
            self.run.free_memory()  # else it keeps every network that it ever wrapped
        head = self.model.neuron_head
        head.weight.mul_(self.sd[:, None])
        head.bias.mul_(self.sd).add_(self.mean)
        return self.history


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
