"""One neuron under one model: a page that notebooks show, and a widget that turns its pages."""

import io

import ipywidgets
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox

from helpers import metrics, plots
from helpers.analyses.tables import SIMULATED

MARKERS = "osD^v<>Phd"
N_CATEGORIES = len(MARKERS)
N_IMAGES = 10
SIZE = (12, 8.5)
WITH_CAPTION = Bbox.from_extents(0, -0.6, *SIZE)  # inches; measuring it, as "tight" does, takes a third of the time


def explore(done, dataset, ceiling):
    """Pick a model and a neuron, see its page (`figure`).

    Core widgets only, so that ipywidgets from 7.7 on show it. The page is a picture, drawn anew at each choice; no
    figure stays open.

    Parameters
    ----------
    done : dict name -> list of Run, one a seed, from runs.run_all
    dataset : Dataset
    ceiling : array of shape (n_neurons,) or float, from populations.ceiling_of

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    ValueError
        If there are no runs.
    """
    if not done:
        raise ValueError("no finished runs to explore")
    model = ipywidgets.Dropdown(options=list(done), description="model")
    neuron = ipywidgets.IntSlider(max=dataset.n_neurons - 1, description="neuron", continuous_update=False)
    page = ipywidgets.Image(format="png")

    def turn(_=None):
        drawn = figure(done, dataset, model=model.value, neuron=neuron.value, ceiling=ceiling)
        picture = io.BytesIO()
        drawn.savefig(picture, format="png", dpi=80, bbox_inches=WITH_CAPTION)
        plt.close(drawn)
        page.value = picture.getvalue()

    model.observe(turn, names="value")
    neuron.observe(turn, names="value")
    turn()
    return ipywidgets.VBox([ipywidgets.HBox([model, neuron]), page])


def figure(done, dataset, *, model, neuron, ceiling, note=""):
    """A page on one neuron: predicted against measured val responses, tuning by category, rank, driving images.

    Predictions are means over seeds; scores are means of the seeds' scores, as in the results table.

    Parameters
    ----------
    done, dataset, ceiling : see `explore`
    model : a name in `done`
    neuron : int, from 0
    note : more words for the caption, such as how the neuron was chosen

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        For a model or a neuron that is not there.
    """
    if model not in done:
        raise ValueError(f"no runs of {model!r}; there are {', '.join(done)}")
    if not 0 <= neuron < dataset.n_neurons:
        raise ValueError(f"no neuron {neuron}; there are 0 to {dataset.n_neurons - 1}")
    responses = dataset.val.responses
    explained = np.mean([metrics.explained_variance(responses, run.val) for run in done[model]], axis=0)
    correlations = np.mean([metrics.correlation(responses, run.val) for run in done[model]], axis=0)
    measured = responses[:, neuron].astype(np.float64)
    predicted = np.mean([run.val[:, neuron] for run in done[model]], axis=0, dtype=np.float64)
    colour = plots.recipe_colour("repaired" if model.endswith("-repaired") else "published")

    drawn = plt.figure(figsize=SIZE)
    panels = [["responses", "tuning", "neurons"], ["images", "images", "images"]]
    margins = {"left": 0.06, "right": 0.99, "top": 0.86, "bottom": 0.01, "hspace": 0.3, "wspace": 0.2}
    axes = drawn.subplot_mosaic(panels, height_ratios=[1, 1.1], gridspec_kw=margins)
    categories = shown_categories(dataset.val.categories)
    predicted_against_measured(measured, predicted, dataset.val.categories, categories, axes["responses"])
    tuning(measured, predicted, dataset.val.categories, categories, colour, axes["tuning"])
    among_neurons(explained, neuron, colour, axes["neurons"])
    driving_images(measured, predicted, dataset.val.images, axes["images"])

    drawn.suptitle(f"{model}, neuron {neuron}\n{score_words(explained[neuron], correlations[neuron], ceiling, neuron)}")
    n_seeds = len(done[model])
    seeds = f"predictions and scores are means over {n_seeds} seeds" if n_seeds > 1 else "one seed"
    words = f"{len(measured)} val images; {seeds}. Responses in the units of the file; bars: s.e.m. over images."
    return plots.caption(drawn, " ".join(filter(None, [SIMULATED if dataset.is_standin else "", note, words])))


def score_words(explained_variance, correlation, ceiling, neuron):
    """A neuron's scores in a line; a neuron whose val responses are constant has none."""
    ceiling = ceiling[neuron] if np.ndim(ceiling) else ceiling
    known = f"noise ceiling {ceiling:.2f}" if np.isfinite(ceiling) else "noise ceiling unknown"
    if np.isnan(explained_variance):
        return f"its val responses are constant: nothing to explain; {known}"
    return f"explained variance {explained_variance:.2f}, correlation {correlation:.2f}, {known}"


def shown_categories(categories):
    """The categories that get a colour: the largest `N_CATEGORIES`, sorted by name."""
    names, counts = np.unique(categories, return_counts=True)
    return sorted(names[np.argsort(-counts, kind="stable")][:N_CATEGORIES].tolist())


def short(name):
    """A name that fits under an axis: its two ends."""
    return name if len(name) <= 12 else f"{name[:6]}\N{HORIZONTAL ELLIPSIS}{name[-5:]}"


def predicted_against_measured(measured, predicted, categories, shown, ax):
    """A dot per image, with the identity line. measured, predicted, categories : (n_images,); shown : names."""
    ends = [min(measured.min(), predicted.min()), max(measured.max(), predicted.max())]
    ax.plot(ends, ends, color="#777777", linewidth=1)
    others = ~np.isin(categories, shown)
    if others.any():
        ax.plot(measured[others], predicted[others], ".", color="#bbbbbb", markersize=5, label="others")
    for i, name in enumerate(shown):
        of = categories == name
        ax.plot(measured[of], predicted[of], MARKERS[i], color=f"C{i}", alpha=0.7, markersize=4, label=short(name))
    ax.set(xlabel="measured response", ylabel="predicted response")
    ax.legend(fontsize=7, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1)
    return ax


def tuning(measured, predicted, categories, shown, colour, ax):
    """Mean response by category, the highest measured one first; bars for the standard error of the mean."""
    means = {name: measured[categories == name].mean() for name in shown}
    names = sorted(means, key=lambda name: -means[name])
    for values, shade, shift, label in ((measured, "black", -0.1, "measured"), (predicted, colour, 0.1, "predicted")):
        groups = [values[categories == name] for name in names]
        sems = [group.std(ddof=1) / len(group) ** 0.5 if len(group) > 1 else np.nan for group in groups]
        at = np.arange(len(names)) + shift
        ax.errorbar(at, [group.mean() for group in groups], sems, fmt="o", color=shade, markersize=5, label=label)
    ax.set_xticks(range(len(names)), [short(name) for name in names], rotation=45, ha="right", fontsize=8)
    ax.set(ylabel="mean response", xlim=(-0.6, len(names) - 0.4))
    ax.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def among_neurons(explained, neuron, colour, ax):
    """Explained variance of all neurons (n_neurons,), this one marked."""
    if np.isfinite(explained).any():
        plots.distribution(explained, xlabel=plots.EXPLAINED_VARIANCE, what="neurons", colour="#bbbbbb", ax=ax)
    if np.isfinite(explained[neuron]):
        ax.axvline(explained[neuron], color=colour, linewidth=2, label=f"neuron {neuron}: {explained[neuron]:.2f}")
        ax.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def driving_images(measured, predicted, images, ax):
    """The images with the highest and lowest responses, measured and predicted, and the range of each row's responses.

    images : array of shape (n_images, 1 or 3, height, width). A row holds at most half of them, so none is in both.
    """
    n_columns = max(1, min(N_IMAGES, len(images) // 2))
    chosen, labels = [], []
    for end, sign in (("highest", -1), ("lowest", 1)):
        for kind, values in (("measured", measured), ("predicted", predicted)):
            order = np.argsort(sign * values, kind="stable")[:n_columns]
            chosen.append(order)
            labels.append(f"{end} {kind}\n{values[order[0]]:.2f} to {values[order[-1]]:.2f}")  # sorted as they come
    ranks = np.tile([f"{rank:02d}" for rank in range(n_columns)], len(labels))
    rows = np.repeat(labels, n_columns)
    plots.contact_sheet(images[np.concatenate(chosen)], ranks, rows, n_columns=n_columns, ax=ax)
    return ax
