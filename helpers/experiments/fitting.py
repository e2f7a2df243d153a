"""What a run computes: one row fitted with one seed, and its predictions."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from helpers import datasets, models
from helpers.device import accelerator, hardware
from helpers.training import loop
from helpers.training.recipe import scaling_of


def fit_row(experiment, dataset, *, seed, held_out_fold, checkpoint, progress, held_out_score):
    """Train the network of a row and predict: dict of arrays (n_images, n_neurons), values and weights; see runs.Run.

    dataset : as `Profile.training_data` returned it. checkpoint, progress, held_out_score : see loop.fit.
    Raises ValueError for a training that is none; see `scaling_of`.
    """
    model, weights = models.build(experiment, dataset, seed)
    normalisation = experiment.inputs.normalisation(dataset, experiment.backbone)
    fit_index, held_out_index = (None, None) if held_out_fold is None else fold_of(dataset, held_out_fold)
    history = loop.fit(
        model,
        dataset,
        experiment.recipe,
        seed=seed,
        normalisation=normalisation,
        pretrained=weights != models.RANDOM,
        label_weight=experiment.label_weight,
        fit_index=fit_index,
        held_out_index=held_out_index,
        held_out_score=held_out_score,
        checkpoint=checkpoint,
        progress=progress,
    )
    scaling = scaling_of(history)
    predictions, accuracy = {}, None
    for role in ("val", "test"):
        predictions[role], logits = loop.predict(model, getattr(dataset, role).images, normalisation)
        if role == "val" and logits is not None:
            named = np.array(dataset.object_names)[logits.argmax(1)]
            accuracy = float(np.mean(named == dataset.val.objects))
    if held_out_index is not None:
        predictions["held_out"], _ = loop.predict(model, dataset.train.images[held_out_index], normalisation)
    diverged = not all(np.isfinite(predicted).all() for predicted in predictions.values())
    if diverged:  # its predictions are no numbers: scored as the constant that anyone could have predicted
        mean = dataset.train.responses.mean(0)
        predictions = {role: np.broadcast_to(mean, p.shape).copy() for role, p in predictions.items()}
    info = {
        "name": experiment.name,
        "diverged": diverged,
        "seed": seed,
        "weights": weights,
        "epochs": len(history),
        "recipe_epochs": experiment.recipe.epochs,
        "pixels": "x".join(map(str, dataset.images.shape[2:])),
        "n_train": len(dataset.train.images) if fit_index is None else len(fit_index),
        "seconds": sum(epoch["seconds"] for epoch in history),
        "processes": accelerator().num_processes,
        "hardware": hardware(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    kept = {"weights": model.state_dict()} if seed == 0 else {}
    return predictions | kept | {"info": info | scaling, "object_accuracy": accuracy, "history": history}


def fold_of(dataset, held_out_fold):
    """Indices of the training images to fit and to hold out. Raises ValueError for a fold that is not there."""
    folds = datasets.choosing_folds(dataset)
    if not 0 <= held_out_fold < len(folds):
        n_images = len(dataset.train.images)
        raise ValueError(f"no fold {held_out_fold} of {n_images} training images; expected 0 to {len(folds) - 1}.")
    return folds[held_out_fold]


def rebuild(experiment, dataset, state):
    """The trained network from its saved weights (a state dict), on the device, and the normalisation of its inputs."""
    model, _ = models.build(replace(experiment, pretrained=False), dataset, 0)
    model.load_state_dict(state)
    return model.to(accelerator().device), experiment.inputs.normalisation(dataset, experiment.backbone)
