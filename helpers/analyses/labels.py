"""What object labels teach a network of the neurons: the part of its predictions that is the object's, and a control.

Labels are the same for all images of an object, so all they can teach is what an object's images have in common.
"""

import hashlib
from dataclasses import replace

import numpy as np
from scipy.stats import binom

from helpers import metrics
from helpers.analyses import tables


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

    pairs : list of (label, name, name compared with), all in `done`. done : dict name -> list of Run.
    """
    parts = {
        name: object_part(np.array([run.val for run in done[name]]), dataset.val.objects)
        for name in {name for _, *names in pairs for name in names}
    }
    return tables.paired(pairs, parts, dataset, metric=metrics.correlation)


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


def chance_range(n_images, n_objects, *, level=0.95):
    """The accuracies, lowest and highest, that guessing one of n_objects names for n_images stays within."""
    low, high = binom.interval(level, n_images, 1 / n_objects)
    return low / n_images, high / n_images
