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
from timm.utils import ModelEmaV3
from torch import nn

from helpers import cache, datasets
from helpers.datasets.images import to_batch
from helpers.device import accelerator, precision
from helpers.readout import regression
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
    label_weight : weight of the object labels' cross-entropy beside the neural loss; None for one objective.
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
    labels = torch.from_numpy(np.searchsorted(dataset.object_names, dataset.train.objects)).to(device)
    mean, sd = scale_of(responses[fit_index]) if recipe.standardised else (0 * responses[0], 0 * responses[0] + 1)
    targets = (responses - mean) / sd
    constant_label_loss = (
        label_entropy(dataset.train.objects[fit_index]) if recipe.standardised and label_weight else 1.0
    )

    dtype, memory_format = precision(model, device)
    model.to(device=device, memory_format=memory_format)
    if device.type == "cuda" and run.num_processes > 1:
        convert_sync_batchnorm(model)
    if recipe.linear_probe_start:
        fitted = dataset.train.objects[fit_index]
        start_head(model, images[fit_index], fitted, targets[fit_index], normalisation, pretrained=pretrained)
    state = _State.fresh(model, make_optimiser(model, recipe, pretrained), recipe, device, dtype)
    wrapped = run.prepare(model) if run.num_processes > 1 else model
    if checkpoint:
        state.take_up(checkpoint)
    steps = len(batches(torch.arange(len(fit_index)), recipe.batch_size, run.num_processes))
    scheduler = recipe.schedule.scheduler(state.optimiser, recipe.epochs * steps, steps)
    translation, saved_at = round(recipe.translation * images.shape[-2]), time.monotonic()

    def losses(batch, weight):
        """Neural and label loss of a batch, sums over its images times a weight."""
        inputs = make_batch(images, normalisation, batch, translation=translation, memory_format=memory_format)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            predicted, logits = wrapped(inputs)
        neural = (predicted.float() - targets[batch]).square().mean(1).sum() * weight
        if label_weight is None:
            return neural, neural.new_zeros(())
        label = nn.functional.cross_entropy(logits.float(), labels[batch], reduction="sum") * weight
        return neural, label / constant_label_loss

    for epoch in range(len(state.history), recipe.epochs):
        began = time.monotonic()
        _train_mode(model, frozen_batch_norm=recipe.frozen_batch_norm and pretrained)
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(fit_index)).to(device)
        whole_batches = batches(order, recipe.batch_size, run.num_processes)
        torch.manual_seed((seed * 1000 + epoch) * 64 + run.process_index)
        sums = torch.zeros(2, device=device)
        for step, whole_batch in enumerate(whole_batches, epoch * steps):
            scheduler.step_update(step)
            neural, label = losses(*_share(whole_batch, run.process_index, run.num_processes))
            state.step(neural if label_weight is None else neural + label_weight * label, recipe.clip, step)
            sums += torch.stack([neural.detach(), label.detach()]) * len(whole_batch)
        neural_loss, label_loss = (run.reduce(sums, "mean") / len(fit_index)).tolist()
        state.history.append({"neural_loss": neural_loss, "label_loss": label_loss})
        if held_out_index is not None:
            held_out, _ = predict(state.best, dataset.train.images[held_out_index], normalisation)
            score = float("nan")  # of a run that has diverged
            if np.isfinite(held_out).all():
                held_out = held_out * sd.cpu().numpy() + mean.cpu().numpy()
                score = held_out_score(dataset.train.responses[held_out_index], held_out)
            state.history[-1]["held_out_explained_variance"] = score
        state.history[-1]["seconds"] = time.monotonic() - began
        if progress:
            progress(epoch + 1, recipe.epochs, state.history[-1])
        due = time.monotonic() - saved_at >= CHECKPOINT_SECONDS and epoch + 1 < recipe.epochs
        if checkpoint and due and run.is_main_process:
            state.save(checkpoint)
            saved_at = time.monotonic()
    if wrapped is not model:
        run.free_memory()  # else it keeps every network that it ever wrapped
    if state.ema:
        model.load_state_dict(state.best.state_dict())
    with torch.no_grad():  # fold the responses' scale into the head
        head = model.neuron_head
        head.weight.mul_(sd[:, None])
        head.bias.mul_(sd).add_(mean)
    return state.history


@dataclass
class _State:
    """What a checkpoint holds: enough to go on from the end of an epoch."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: ModelEmaV3 | None
    history: list

    @classmethod
    def fresh(cls, model, optimiser, recipe, device, dtype):
        ema = ModelEmaV3(model, decay=recipe.ema, use_warmup=True) if recipe.ema else None
        return cls(model, optimiser, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16), ema, [])

    @property
    def best(self):
        """The model to predict with: the exponential moving average of its weights, where there is one."""
        return self.ema.module if self.ema else self.model

    def step(self, loss, clip, step):
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.ema:
            self.ema.update(self.model, step=step)

    def _parts(self):
        parts = {"model": self.model, "optimiser": self.optimiser, "scaler": self.scaler}
        return parts | ({"ema": self.ema.module} if self.ema else {})

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


def _train_mode(model, *, frozen_batch_norm):
    model.train()
    if frozen_batch_norm:
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


def make_batch(images, normalisation, index, *, translation=0, memory_format=torch.contiguous_format):
    return to_batch(images[index], normalisation, translation=translation).contiguous(memory_format=memory_format)


def label_entropy(objects):
    """Cross-entropy in nats of the best constant prediction of the labels."""
    share = np.unique(objects, return_counts=True)[1] / len(objects)
    return float(-(share * np.log(share)).sum()) or 1.0


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


@torch.no_grad()
def start_head(model, images, objects, targets, normalisation, *, pretrained):
    """Start the neuron head from the ridge solution on the backbone's features (Kumar et al. 2022, "LP-FT").

    Each stage's features are first brought to a mean squared norm of 1, as in `gram.combine`. The batch norms of a
    random backbone know no images yet: they take the statistics of these.

    images : resident tensor of the images to fit; objects, targets : of the same images, targets standardised.
    """
    indices = batches(torch.arange(len(images)), 64)
    if not pretrained:
        torch.optim.swa_utils.update_bn((make_batch(images, normalisation, index) for index in indices), model)
    model.eval()
    features = np.empty((len(images), sum(model.widths)), np.float32)  # the one large array: it is changed in place
    for index in indices:
        features[index] = model.features(make_batch(images, normalisation, index)).float().cpu()
    mean = features.mean(0, dtype=np.float64).astype(np.float32)
    features -= mean
    gain = np.empty_like(mean)
    for end, width in zip(np.cumsum(model.widths), model.widths, strict=True):
        stage = features[:, end - width : end]  # a view
        gain[end - width : end] = (np.einsum("ij,ij->", stage, stage, dtype=np.float64) / len(stage)) ** -0.5
    features *= gain
    K = (features @ features.T).astype(np.float64)
    y = targets.cpu().numpy()
    scale = np.trace(K) / len(K)
    folds = datasets.folds(objects, min(5, len(objects)), seed=0)
    dual = regression.dual_weights(K / scale, y - y.mean(0), regression.ridge(K, y, folds=folds).alpha) / scale
    weights = dual.T.astype(np.float32) @ features  # (n_neurons, n_features)
    head = model.neuron_head
    for parameter, value in (
        (model.gain, gain),
        (head.weight, weights),
        (head.bias, y.mean(0) - weights @ (mean * gain)),
    ):
        parameter.copy_(torch.from_numpy(value))
