"""Training: one loop for all stages, which goes on bit for bit where it was killed, and the fit of a row by it.

All randomness of an epoch (order, translations, dropout) is drawn from (seed, epoch), so a checkpoint at the end of an
epoch needs no random state. Images, responses and labels lie on the device; a step copies and waits for nothing.
"""

import time

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from torch import nn

from helpers import models
from helpers.device import accelerator, precision
from helpers.training.ridge_heads import RidgeHeads, set_batch_norm
from helpers.training.step import LossScaling, TrainedHeads, batches, make_batch, make_optimiser, scaling_of


def fit_row(experiment, dataset, *, seed, fold, held_out_score, checkpoint, progress):
    """Train the network of a row and predict: dict of arrays (n_images, n_neurons), values and weights; see runs.Run.

    dataset : as `Profile.training_data` returned it; others as in `fit`. Raises ValueError for a training that is none;
    see `scaling_of`.
    """
    model, weights = experiment.build(dataset, seed)
    normalisation = experiment.inputs.normalisation(dataset, experiment.backbone)
    history = fit(
        model,
        dataset,
        experiment.recipe,
        seed=seed,
        normalisation=normalisation,
        pretrained=weights != models.RANDOM,
        label_weight=experiment.label_weight,
        fold=fold,
        held_out_score=held_out_score,
        checkpoint=checkpoint,
        progress=progress,
    )
    info, accuracy = {"weights": weights, "diverged": False} | scaling_of(history), None
    images = {"val": dataset.val.images, "test": dataset.test.images}
    if fold is not None:
        images["held_out"] = dataset.train.images[fold[1]]
    found = {role: predict(model, shown, normalisation) for role, shown in images.items()}
    predictions = {role: predicted for role, (predicted, _) in found.items()}
    if (logits := found["val"][1]) is not None:
        named = np.array(dataset.object_names)[logits.argmax(1)]
        accuracy = float(np.mean(named == dataset.val.objects))
    if not all(np.isfinite(predicted).all() for predicted in predictions.values()):
        # no numbers: scored as the constant that anyone could have predicted
        info["diverged"], mean = True, dataset.train.responses.mean(0)
        predictions = {role: np.broadcast_to(mean, p.shape).copy() for role, p in predictions.items()}
    kept = {"weights": model.state_dict()} if seed == 0 else {}
    return predictions | kept | {"info": info, "object_accuracy": accuracy, "history": history}


def fit(
    model,
    dataset,
    recipe,
    *,
    seed,
    normalisation,
    pretrained=False,
    label_weight=None,
    fold=None,
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
    fold : (fit_index, held_out_index), training images; the latter are scored after each epoch. None: all are fitted.
    held_out_score : function of their responses and predictions, in the units of the file; returns a number.
    checkpoint : Checkpoint to continue from and to write, or None.
    progress : called after each epoch with (epochs done, epochs, the epoch's entry of `history`)

    Returns
    -------
    history : list of dict, one an epoch: neural_loss and label_loss of its steps, in the recipe's units, seconds and,
        with a fold, held_out_explained_variance; in float16 what LossScaling.of_epoch says.
    """
    fit_index, held_out_index = (np.arange(len(dataset.train.images)), None) if fold is None else fold
    training = _Training(model, dataset, recipe, seed, normalisation, pretrained, label_weight, fit_index)
    if saved := checkpoint and checkpoint.take_up():
        training.go_on(saved)
    began = time.monotonic()
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
        if checkpoint and training.run.is_main_process and epoch + 1 < recipe.epochs:
            checkpoint.keep(training.state)
    return training.finish()


class _Training:
    """A network's training under way: what lies on the device, what an epoch does, what a checkpoint holds."""

    def __init__(self, model, dataset, recipe, seed, normalisation, pretrained, label_weight, fit_index):
        self.run = run = accelerator()
        self.model, self.recipe, self.seed, self.normalisation = model, recipe, seed, normalisation
        self.label_weight, self.fit_index, self.history = label_weight, fit_index, []
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
        # of a checkpoint: not the heads by ridge, which follow from the backbone
        self.parts = {"model": self.heads.module, "optimiser": self.optimiser, "scaler": self.scaler}
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
        rank, n_processes = self.run.process_index, self.run.num_processes
        batch, weight = whole_batch[rank::n_processes], n_processes / len(whole_batch)
        how = {"translation": self.translation, "memory_format": self.memory_format}
        inputs = make_batch(self.images, self.normalisation, batch, **how)
        with torch.autocast(self.run.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            output = self.wrapped(inputs)
        neural, label = self.heads.losses(output, batch)
        return neural.sum() * weight, label.sum() * weight

    def epoch(self, epoch):
        """Train on every image once: dict of the steps' mean losses."""
        self.model.train()
        for module in self.model.modules() if self.recipe.ridge_heads else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
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
            self.scaler.backward_and_step(loss, self.optimiser, self.heads.module.parameters(), self.recipe.clip)
            sums += torch.stack([neural.detach(), label.detach()]) * len(whole_batch)
        neural_loss, label_loss = (self.run.reduce(sums, "mean") / len(self.fit_index)).tolist()
        return {"neural_loss": neural_loss, "label_loss": label_loss} | self.scaler.of_epoch(epoch)

    def score(self, split, index, held_out_score):
        """Score of held-out images in the units of the file; NaN for a run that has diverged."""
        predicted, _ = predict(self.model, split.images[index], self.normalisation)
        if not np.isfinite(predicted).all():
            return float("nan")
        return held_out_score(split.responses[index], predicted * self.sd.cpu().numpy() + self.mean.cpu().numpy())

    def state(self):
        """What a checkpoint holds."""
        return {name: part.state_dict() for name, part in self.parts.items()} | {"history": self.history}

    def go_on(self, saved):
        """Go on from the state that a checkpoint held."""
        for name, part in self.parts.items():
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


def predict(model, images, normalisation):
    """Predicted responses (n_images, n_neurons), float32, and object logits (n_images, n_objects) or None."""
    was_training = model.training
    images = torch.from_numpy(images).to(next(model.parameters()).device)
    parts = zip(*(output for _, output in outputs(model, model, images, normalisation)), strict=True)
    responses, logits = (None if part[0] is None else torch.cat(part).float().cpu().numpy() for part in parts)
    model.train(was_training)
    return responses, logits


def extract(model, images, normalisation):
    """Features (n_images, n_features), float32, of resident images, in the number type that the network trains in."""
    features = torch.empty(len(images), sum(model.features.widths), device=images.device)
    for index, output in outputs(model, model.features, images, normalisation):
        features[index] = output.float()
    return features


@torch.no_grad()
def outputs(model, part, images, normalisation):
    """Pairs (index, output) of a model or a part of it, for resident images, a batch each; in evaluation mode."""
    model.eval()
    dtype, memory_format = precision(model, images.device)
    for index in torch.arange(len(images), device=images.device).split(64):
        batch = make_batch(images, normalisation, index, memory_format=memory_format)
        with torch.autocast(images.device.type, dtype=dtype, enabled=dtype != torch.float32):
            output = part(batch)
        yield index, output
