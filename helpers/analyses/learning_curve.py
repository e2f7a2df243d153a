"""How many training images each approach needs: the same rows fitted to 10 % of the images, to more, to all."""

from dataclasses import replace

import numpy as np
import pandas as pd

from helpers import datasets, metrics, models
from helpers.analyses import frozen_networks, layer_profile
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0
from helpers.plots import readable
from helpers.readout import receptive_fields

SHARES = (0.1, 0.25, 0.5, 1.0)  # of the training images, of which two at least are taken
SHALLOW, FINE_TUNED = "shallow-dropout-l2-repaired", "lite0-repaired"


def learning_curve(dataset, profile):
    """Explained variance on val by the number of training images, of three or four approaches.

    The shallow CNN, lite0 fine-tuned, the located readout of frozen networks, and the mean of the last two, at the
    pixels that the profile trains lite0 at; a shallow CNN that it trains at others is left out. Each is fitted to the
    same images, every object keeping its share; all but the readout's blur is chosen on these. Runs come from the cache
    of `runs.run`, Gram matrices from that of all images.

    Parameters
    ----------
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile

    Returns
    -------
    pandas.DataFrame
        Columns approach, n_train, explained_variance, and low and high, the 95 % interval over images and seeds. The
        networks' lines with all images are the main rows.
    """
    weights, n_all = models.find_weights(LITE0)[1], len(dataset.train.images)
    fine_tuned = readable(FINE_TUNED) + (", random weights" if weights == models.RANDOM else "")
    dataset = profile.training_data(EXPERIMENTS[FINE_TUNED], dataset)
    rows = {fine_tuned: EXPERIMENTS[FINE_TUNED]}
    if profile.training_data(EXPERIMENTS[SHALLOW], dataset) is dataset:
        rows = {"shallow CNN": EXPERIMENTS[SHALLOW]} | rows
    networks = [layer_profile.short_name(tag, weights) for tag in frozen_networks.kept(dataset, profile)]
    name = f"{' + '.join(networks)}: {frozen_networks.LOCATED}"
    readout = readable(name)
    lines = []
    for n_train in sorted({max(2, round(share * n_all)) for share in SHARES}):
        print(f"{n_train} of {n_all} training images", flush=True)
        few, _ = subset(dataset, n_train)
        frozen = readout_from_few(dataset, profile, n_train)
        done = runs.run_all(list(rows.values()), few, profile)
        predictions = {a: np.array([run.val for run in done[row.name]]) for a, row in rows.items() if row.name in done}
        if fine_tuned in predictions:
            predictions[readable(f"mean of {FINE_TUNED} and {name}")] = (predictions[fine_tuned] + frozen) / 2
        predictions[readout] = frozen
        for approach, predicted in predictions.items():
            found = metrics.interval(dataset.val.responses, predicted, dataset.val.objects)
            line = {"approach": approach, "n_train": n_train, "explained_variance": found.estimate}
            lines.append(line | {"low": found.low, "high": found.high})
    return pd.DataFrame(lines)


def subset(dataset, n_train):
    """The data set with its first roles cut to n_train training images by `datasets.reduce`, and their indices.

    A smaller data set has a name of its own, and so a folder of its own among the runs.
    """
    n_all = len(dataset.train.images)
    if n_train >= n_all:
        return dataset, np.arange(n_all)
    numbered = replace(dataset.train, metadata=dataset.train.metadata | {"place among all": np.arange(n_all)})
    few = datasets.reduce(replace(dataset, train=numbered), n_train=n_train, pixels=None)
    return replace(few, name=f"{dataset.name}-{n_train}-images"), few.train.metadata["place among all"]


def readout_from_few(dataset, profile, n_train):
    """Val predictions (n_images, n_neurons) of the located readout fitted to `subset`'s images.

    Rows and columns of the Gram matrices of all images, of which their mean and the blur alone were learned: no forward
    pass.
    """
    few, index = subset(dataset, n_train)
    n_all, n_val = len(dataset.train.images), len(dataset.val.images)
    order = np.concatenate([index, n_all + np.arange(n_val)])
    spec = frozen_networks.located_spec(dataset, profile)
    stack = np.stack([K[np.ix_(order, order)] for K in frozen_networks.kernel(spec, dataset)])
    return receptive_fields.ridge(stack, few.train.responses).predictions.astype(np.float32)
