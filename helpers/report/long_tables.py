"""Tables that a command makes, and writes beside the notebooks' figures."""

import functools

import pandas as pd

from helpers import cache, datasets, metrics, models, notebook, plots
from helpers.analyses import frozen_networks, layer_profile
from helpers.analyses.labels import shuffled_control
from helpers.analyses.learning_curve import learning_curve
from helpers.datasets import populations
from helpers.models import frozen
from helpers.readout import regression

TABLES = {"learning_curve": learning_curve, "shuffled_labels": shuffled_control}


def table(name, dataset, profile, file):
    """One of TABLES: its frame, and the path of the CSV file that it is written to."""
    frame = TABLES[name](dataset, profile)
    return frame, _write(frame, name, f"python -m helpers table {name}", profile, file)


def readout(tags, dataset, profile, file):
    """Frozen networks read out layer by layer, and located, by folds of the training images.

    tags : full timm names. Returns a frame with columns network, layer, depth and explained_variance, and the paths of
    its CSV file and figure. Raises ValueError for a tag that timm does not know, or has no weights for at hand.
    """
    for tag in tags:
        models.find_weights(tag)  # a misspelt one is known before any work
    frame = pd.concat([_by_layer(tag, dataset, profile) for tag in tags], ignore_index=True)
    scores = [float(metrics.known_mean(frozen_networks.located_score(tag, dataset, profile))) for tag in tags]
    labels = [frozen.label_of(tag) for tag in tags]
    located = {"network": labels, "layer": frozen_networks.LOCATED, "explained_variance": scores}
    name = f"readout-{'-'.join(tag.partition('.')[0] for tag in tags)}"
    by_kind = frame.assign(kind=next(iter(plots.KINDS)))
    ax = plots.depth(by_kind, ceiling=populations.ceiling_of(dataset)[0])
    ax.set_ylabel(f"{ax.get_ylabel()}, by folds")
    frame = pd.concat([frame, pd.DataFrame(located)], ignore_index=True)
    path = _write(frame, name, f"python -m helpers readout {' '.join(tags)}", profile, file)
    figure = path.with_suffix(".png")
    cache.write_whole(figure, lambda beside: ax.figure.savefig(beside, format="png", bbox_inches="tight"))
    return frame, path, figure


def _by_layer(tag, dataset, profile):
    """Readouts of a network layer by layer: `layer_profile.scores_by_depth`.

    Of training images, each predicted by a fit that saw neither it nor its fold. Raises ValueError for a network whose
    weights are not at hand.
    """
    if models.find_weights(tag)[1] == models.RANDOM:
        raise ValueError(f"{tag}: its weights are not at hand; expected them in $IT_WEIGHTS or on the hub.")
    responses, folds = dataset.train.responses, datasets.choosing_folds(dataset)
    found, _ = layer_profile.kernels(tag, dataset, profile)

    def compute():
        cross_predict = functools.partial(regression.cross_predict, regression.ridge)
        return {layer: cross_predict(K, responses, folds) for layer, K in found.items()}

    settings = {"by folds": cache.keys_of(found.values())}
    held_out = cache.cached(dataset, tag, "by-folds", settings, compute)
    return layer_profile.scores_by_depth(tag, dataset, {layer: held_out[layer] for layer in found}, responses)


def _write(frame, name, command, profile, file):
    made = frame.assign(made=f"{command} --profile {profile.name}; {file.path.name}; {notebook.stamp()}")
    return notebook.write_table(made, notebook.output_folder(file.path), name)
