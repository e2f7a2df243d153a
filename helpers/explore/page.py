"""One neuron under one model, or two: predicted against measured responses, tuning, rank, the images that drive it."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox

from helpers import metrics, plots
from helpers.datasets import SIMULATED

BEST = "best model: "  # how the name of the best model begins
MARKERS = "osD^v<>Phd"
N_CATEGORIES = len(MARKERS)
N_IMAGES = 10
SIZE = (11, 8)
WITH_CAPTION = Bbox.from_extents(0, -0.6, *SIZE)  # inches; measuring it, as "tight" does, takes a third of the time
SINGLE = [["responses", "tuning", "neurons"], ["images"] * 3]
DOUBLE = [["responses", "beside", "tuning"], ["images"] * 3]


def figure(done, dataset, *, model, neuron, ceiling, beside=None, note=""):
    """A page on one neuron: predicted against measured val responses, tuning by category, rank, driving images.

    Predictions are means over seeds; scores are means of the seeds' scores, as in the results table.

    Parameters
    ----------
    done : dict name -> list of runs, one a seed, from runs.run_all or `held.held`
    dataset : Dataset
    ceiling : array of shape (n_neurons,) or float
    model : a name in `done`
    neuron : int, from 0
    beside : the name of a second model, shown in the place of the neuron's rank; or None
    note : more words for the caption, such as how the neuron was chosen

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        For a model or a neuron that is not there.
    """
    names = [model] if beside is None else [model, beside]
    if missing := [name for name in names if name not in done]:
        raise ValueError(f"no runs of {missing[0]!r}; there are {', '.join(done)}")
    if not 0 <= neuron < dataset.n_neurons:
        raise ValueError(f"no neuron {neuron}; there are 0 to {dataset.n_neurons - 1}")
    val = dataset.val
    measured = val.responses[:, neuron].astype(np.float64)
    labels = ["predicted"] if beside is None else ["predicted by 1", "predicted by 2"]
    predicted = {
        label: np.mean([run.val[:, neuron] for run in done[name]], axis=0, dtype=np.float64)
        for label, name in zip(labels, names, strict=True)
    }

    drawn = plt.figure(figsize=SIZE)
    margins = {"left": 0.07, "right": 0.99, "top": 0.85 - 0.03 * len(names), "bottom": 0.01, "hspace": 0.3}
    layout = DOUBLE if beside else SINGLE
    axes = drawn.subplot_mosaic(layout, height_ratios=[1, 1.1], gridspec_kw=margins | {"wspace": 0.3})
    categories = plots.largest(val.categories, N_CATEGORIES)
    for panel, (label, values) in zip(("responses", "beside"), predicted.items(), strict=False):
        predicted_against_measured(measured, values, val.categories, categories, axes[panel]).set_ylabel(label)
    if beside is None:
        among_neurons(explained(done[model], dataset), neuron, colour_of(model), axes["neurons"])
    responses = {"measured": measured} | predicted
    colours = ["black", *map(colour_of, names)]
    legend_above(plots.tuning(responses, val.categories, categories, colours=colours, ax=axes["tuning"]), ncols=2)
    driving_images(responses, val.images, axes["images"])

    titles = [f"{plots.short(name, 90)}, neuron {neuron}: {score_words(done[name], dataset, neuron)}" for name in names]
    titles = titles if beside is None else [f"{number}: {title}" for number, title in enumerate(titles, 1)]
    drawn.suptitle("\n".join([*titles, ceiling_words(ceiling, neuron)]), fontsize=10)
    n_seeds = [len(done[name]) for name in names]
    seeds = f"predictions and scores are means over {' and '.join(map(str, n_seeds))} seeds"
    seeds = "one seed" if max(n_seeds) == 1 else seeds
    words = f"{len(measured)} val images; {seeds}. Responses in the units of the file; bars: s.e.m. over images."
    return plots.caption(drawn, " ".join(filter(None, [SIMULATED if dataset.is_standin else "", note, words])))


def colour_of(model):
    if model.startswith(BEST):
        return plots.COLOURS["best model"]
    recipes = [recipe for recipe in ("published", "repaired") if model.endswith(f"-{recipe}")]
    return plots.recipe_colour(recipes[0]) if recipes else plots.COLOURS["readout"]


def explained(runs, dataset):
    """Explained variance per neuron (n_neurons,), mean over the seeds of one model."""
    return np.mean([metrics.explained_variance(dataset.val.responses, run.val) for run in runs], axis=0)


def score_words(runs, dataset, neuron):
    """A neuron's scores in a few words; a neuron whose val responses are constant has none."""
    found = explained(runs, dataset)[neuron]
    if np.isnan(found):
        return "its val responses are constant: nothing to explain"
    correlation = np.mean([metrics.correlation(dataset.val.responses, run.val)[neuron] for run in runs])
    return f"explained variance {found:.2f}, correlation {correlation:.2f}"


def ceiling_words(ceiling, neuron):
    ceiling = ceiling[neuron] if np.ndim(ceiling) else ceiling
    return f"noise ceiling {ceiling:.2f}" if np.isfinite(ceiling) else "noise ceiling unknown"


def predicted_against_measured(measured, predicted, categories, shown, ax):
    """A dot per image, with the identity line. measured, predicted, categories : (n_images,); shown : names."""
    ends = [min(measured.min(), predicted.min()), max(measured.max(), predicted.max())]
    ax.plot(ends, ends, color="#777777", linewidth=1)
    others = ~np.isin(categories, shown)
    if others.any():
        ax.plot(measured[others], predicted[others], ".", color="#bbbbbb", markersize=5, label="others")
    for i, name in enumerate(shown):
        of = categories == name
        ax.plot(
            measured[of], predicted[of], MARKERS[i], color=f"C{i}", alpha=0.7, markersize=4, label=plots.short(name)
        )
    ax.set(xlabel="measured response", ylabel="predicted")
    return legend_above(ax, ncols=3)


def legend_above(ax, *, ncols):
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "columnspacing": 1, "handletextpad": 0.3}
    ax.legend(fontsize=9, frameon=False, ncols=ncols, **place)
    return ax


def among_neurons(explained, neuron, colour, ax):
    """Explained variance of all neurons (n_neurons,), this one marked."""
    if np.isfinite(explained).any():
        plots.distribution(explained, xlabel="explained variance", what="neurons", colour="#bbbbbb", ax=ax)
    if np.isfinite(explained[neuron]):
        ax.axvline(explained[neuron], color=colour, linewidth=2, label=f"neuron {neuron}: {explained[neuron]:.2f}")
        legend_above(ax, ncols=2)
    return ax


def driving_images(responses, images, ax):
    """The images with the highest and lowest responses, measured and predicted, and the range of each row's responses.

    responses : dict label -> (n_images,). images : array of shape (n_images, 1 or 3, height, width). A row holds at
    most half of them, so none is in both.
    """
    n_columns = max(1, min(N_IMAGES, len(images) // 2))
    chosen, labels = [], []
    for end, sign in (("highest", -1), ("lowest", 1)):
        for kind, values in responses.items():
            order = np.argsort(sign * values, kind="stable")[:n_columns]
            chosen.append(order)
            labels.append(f"{end} {kind}\n{values[order[0]]:.2f} to {values[order[-1]]:.2f}")  # sorted as they come
    ranks = np.tile([f"{rank:02d}" for rank in range(n_columns)], len(labels))
    rows = np.repeat(labels, n_columns)
    plots.contact_sheet(images[np.concatenate(chosen)], ranks, rows, n_columns=n_columns, ax=ax)
    return ax
