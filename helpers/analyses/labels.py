"""Object labels and neurons: the part of responses and predictions that is the object's, and two controls.

Labels are the same for all images of an object, so all they can teach is what an object's images have in common.
"""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd

from helpers import metrics
from helpers.analyses import tables
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS


def object_mean_prediction(responses_train, objects_train, objects_val):
    """Predict each image by its object's mean training response: the control that knows the label and nothing else.

    responses_train : array of shape (n_train, n_neurons). objects_train, objects_val : (n_train,) and (n_val,). Returns
    (n_val, n_neurons) float64; an object without training images gets the mean of all of them.
    """
    responses_train = np.asarray(responses_train, dtype=np.float64)
    names, index = np.unique(objects_train, return_inverse=True)
    means = np.zeros((len(names) + 1, responses_train.shape[1]))
    np.add.at(means, index, responses_train)
    means[:-1] /= np.bincount(index)[:, None]
    means[-1] = responses_train.mean(0)
    row_of = {name: row for row, name in enumerate(names)}
    return means[[row_of.get(name, -1) for name in objects_val]]


def object_part(predictions, objects):
    """Each image predicted by the mean prediction for the *other* images of its object: what is known of the object.

    Leaving the image out keeps pose, size and position out, which a mean that holds it would let in. An image that is
    alone of its object gets the mean prediction of all images. predictions : array of shape (..., n_images, n_neurons);
    objects : (n_images,). Returns float64 of predictions' shape.
    """
    predictions = np.asarray(predictions, dtype=np.float64)
    _, index, counts = np.unique(objects, return_inverse=True, return_counts=True)
    members = np.eye(len(counts))[index]  # (n_images, n_objects)
    others = members @ (members.T @ predictions) - predictions
    n_others = counts[index][:, None] - 1
    mean = predictions.mean(-2, keepdims=True)
    return np.where(n_others > 0, others / np.maximum(n_others, 1), mean)


def object_part_differences(pairs, done, dataset):
    """Paired differences of the object part's correlation with the val responses, a line per pair.

    Correlation, as the raw sum of losses leaves the neuron head at a scale of its own, which explained variance would
    count. Columns and intervals are those of `tables.differences`; the images that make up an object's mean are not
    resampled, only those that it is compared with.

    pairs : list of (label, name, name compared with). done : dict name -> list of Run.
    """
    return tables.differences(pairs, done, dataset, part=object_part, metric=metrics.correlation)


def shuffled_labels(dataset, *, seed=0):
    """The data set with the training images' object labels dealt out anew: as many of each, of the wrong images.

    Images and responses of all splits stay, and so do the labels of val and test. What training on such labels still
    does to the neurons is what a second loss costs; naming of val images must fall to chance.

    Parameters
    ----------
    dataset : Dataset
    seed : int

    Returns
    -------
    dataset : Dataset
        With a fingerprint and a name, so a folder of runs, of its own.
    """
    order = np.random.default_rng(seed).permutation(len(dataset.train.objects))
    train = replace(dataset.train, objects=dataset.train.objects[order], categories=dataset.train.categories[order])
    fingerprint = hashlib.blake2b(f"{dataset.fingerprint} labels shuffled {seed}".encode(), digest_size=16).hexdigest()
    return replace(dataset, name=f"{dataset.name}-shuffled-labels", train=train, fingerprint=fingerprint)


def shuffled_control(dataset, profile):
    """What a second loss costs, and what labels teach: Lite0 with true, with shuffled and without labels, both recipes.

    Returns a frame of paired differences, see `tables.differences`, with a column quantity.
    """
    names = [f"lite0-bi-objective-{recipe}" for recipe in ("published", "repaired")]
    one_objective = [f"lite0-{recipe}" for recipe in ("published", "repaired")]
    done = runs.run_all([EXPERIMENTS[name] for name in names + one_objective], dataset, profile)
    shuffled = runs.run_all([EXPERIMENTS[name] for name in names], shuffled_labels(dataset), profile)
    done |= {f"{name}-shuffled": found for name, found in shuffled.items()}
    pairs = []
    for true, none in zip(names, one_objective, strict=True):
        recipe = none.partition("-")[2]
        pairs.append((f"{recipe} recipe: true labels against none", true, none))
        pairs.append((f"{recipe} recipe: shuffled labels against none", f"{true}-shuffled", none))
        pairs.append((f"{recipe} recipe: true against shuffled labels", true, f"{true}-shuffled"))
    taught = object_part_differences(pairs[2::3], done, dataset)
    frames = {"explained variance": tables.differences(pairs, done, dataset), "object part's correlation": taught}
    return pd.concat(frames, names=["quantity", ""]).reset_index("quantity").reset_index(drop=True)


def object_mean_held_out(dataset, folds):
    """Each training image predicted by the mean of its object's images in the other folds: (n_train, n_neurons)."""
    responses, objects = dataset.train.responses, dataset.train.objects
    predictions = np.empty(responses.shape)
    for fit, held_out in folds:
        predictions[held_out] = object_mean_prediction(responses[fit], objects[fit], objects[held_out])
    return predictions
