"""Figures of images, neurons, layers and training: each takes data and an axis, and returns the axis."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from helpers.metrics import known_mean
from helpers.plots.style import (
    COLOURS,
    EXPLAINED_VARIANCE,
    SMALL,
    approach_colour,
    ceiling_line,
    intervals,
    legend_above,
    name_rows,
    new_axis,
    shades,
)


def contact_sheet(images, objects, categories, *, n_columns=12, n_rows=8, side=64, ax=None):
    """Images in rows of one category each, the objects of a category in turn.

    images : array of shape (n_images, 1 or 3, height, width), uint8 or float in [0, 1]. objects, categories :
    (n_images,). At most `n_rows` categories, the largest; images are thinned to about `side` pixels.
    """
    names, counts = np.unique(categories, return_counts=True)
    names = sorted(names[np.argsort(-counts, kind="stable")][:n_rows])
    step = max(1, round(max(images.shape[2:]) / side))
    pixels = np.moveaxis(images[:, :, ::step, ::step], 1, -1) / (255 if images.dtype == np.uint8 else 1)
    pixels = np.round(pixels * 31) / 31  # as many grays as print shows; the notebook's file stays small
    height, width = pixels.shape[1:3]
    n_columns = min(n_columns, counts.max())
    sheet = np.ones((len(names) * (height + 2), n_columns * (width + 2), pixels.shape[3]))
    for row, name in enumerate(names):
        members = np.flatnonzero(categories == name)
        turn = [np.sum(objects[members[:i]] == objects[members[i]]) for i in range(len(members))]
        members = members[np.lexsort((objects[members], turn))][:n_columns]
        for column, image in enumerate(members):
            top, left = row * (height + 2), column * (width + 2)
            sheet[top : top + height, left : left + width] = pixels[image]
    inches = 0.75 * n_columns  # of the rows, beside their names
    ax = new_axis(ax, size=(inches + 1.5, 0.5 + inches * len(sheet) / sheet.shape[1]))
    ax.imshow(sheet.repeat(3, axis=2) if sheet.shape[2] == 1 else sheet, interpolation="nearest")
    ax.set_yticks((np.arange(len(names)) + 0.5) * (height + 2), names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def distribution(values, *, xlabel, what, colour="#777777", ax=None):
    """Histogram with the median marked. values : array of any shape, NaN left out; what : what is counted."""
    ax = new_axis(ax, size=(4, 3))
    values = np.asarray(values)[np.isfinite(values)]
    ax.set(xlabel=xlabel, ylabel=f"number of {what}")
    if not values.size:
        ax.text(0.5, 0.5, "undefined", ha="center", transform=ax.transAxes)
        return ax
    ax.hist(values, bins=int(np.clip(values.size**0.5, 8, 40)), color=colour)
    ax.axvline(np.median(values), color="black", linewidth=1.5, label=f"median {np.median(values):.2f}")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=SMALL, frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def layer_violins(trained, random, *, ceiling, ax=None):
    """Explained variance by layer: halves of a violin over neurons, trained left and random right; a dot for the mean.

    trained, random : dict layer -> array of shape (n_neurons,), the same layers.
    """
    ax, layers = new_axis(ax, size=(9, 4.5)), list(trained)
    colours = {"trained weights": COLOURS["readout"], "random weights": COLOURS["random weights"]}
    frames = [
        pd.DataFrame(scores).melt(var_name="layer", value_name="score").assign(weights=weights)
        for weights, scores in zip(colours, (trained, random), strict=True)
    ]
    violins = {"x": "layer", "y": "score", "hue": "weights", "palette": colours, "order": layers, "alpha": 0.6}
    tidy = pd.concat(frames, ignore_index=True).replace([np.inf, -np.inf], np.nan)
    sns.violinplot(tidy, **violins, split=True, inner=None, linewidth=0, cut=0, legend=False, ax=ax)
    for (weights, colour), scores, shift in zip(colours.items(), (trained, random), (-0.03, 0.03), strict=True):
        means, at = [known_mean(scores[layer]) for layer in layers], np.arange(len(layers)) + shift
        ax.plot(at, means, "o-", color=colour, markeredgecolor="black", label=f"{weights}: mean over neurons")
    ceiling_line(ceiling, ax)
    narrow = ax.figure.get_figwidth() < 6
    ax.set_xticks(range(len(layers)), layers, **({"rotation": 60, "ha": "right"} if narrow else {}))
    ax.set(xlabel="layer", ylabel=EXPLAINED_VARIANCE)
    return legend_above(ax, ncols=1 if narrow else 3)


def category_lines(lines, *, ylabel, xlabel="layer", ceiling=None, ax=None):
    """A value by layer, or by another category, a line per label.

    lines : dict label -> (colour, style, dict layer -> value); the first names the layers in order, the others may have
    some of them. ceiling : None for a line at 0 alone
    """
    ax = new_axis(ax, size=(7, 4))
    layers = list(next(iter(lines.values()))[2])
    for label, (colour, style, values) in lines.items():
        ax.plot([layers.index(layer) for layer in values], list(values.values()), style, color=colour, label=label)
    if ceiling is None:
        ax.axhline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    else:
        ceiling_line(ceiling, ax)
    long = any(len(str(layer)) > 6 for layer in layers)
    ax.set_xticks(range(len(layers)), layers, fontsize=SMALL, **({"rotation": 60, "ha": "right"} if long else {}))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return legend_above(ax)


def interval_rows(estimates, *, xlabel=EXPLAINED_VARIANCE, ceiling=None, ax=None):
    """A mean and its interval per row, the first on top. estimates : dict name -> metrics.Interval."""
    ax = new_axis(ax, size=(7, 1 + 0.4 * len(estimates)))
    heights = name_rows(list(estimates), ax, xlabel=xlabel)
    intervals(((heights[name], found, approach_colour(name), False) for name, found in estimates.items()), ax)
    if ceiling is not None:
        ceiling_line(ceiling, ax, vertical=True, highest=max(found.high for found in estimates.values()))
        legend_above(ax)
    return ax


def curves(histories, quantity, *, colour, ylabel, ax=None):
    """A quantity of `loop.fit`'s history per epoch: a line per label, the mean of its seeds; the seeds thin.

    histories : dict label -> list of histories, one a seed.
    """
    ax = new_axis(ax)
    for (label, seeds), (shade, style) in zip(histories.items(), shades(colour, len(histories)), strict=True):
        values = np.array([[epoch[quantity] for epoch in history] for history in seeds])  # (n_seeds, n_epochs)
        epochs = np.arange(1, values.shape[1] + 1)
        marker = "o" if len(epochs) == 1 else None
        if len(values) > 1:
            ax.plot(epochs, values.T, color=shade, linewidth=0.5, alpha=0.5)
        ax.plot(epochs, values.mean(0), color=shade, linestyle=style, marker=marker, linewidth=2, label=label)
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=SMALL, frameon=False, handlelength=3.5)  # long enough to tell styles apart
    return ax


def neuron_scatter(x, y, *, xlabel, ylabel, ceiling, colour, ax=None):
    """Two models neuron by neuron: explained variance of one against the other, with the identity line.

    x, y : arrays of shape (n_neurons,).
    """
    ax = new_axis(ax, size=(5, 5))
    ends = [
        min(np.nanmin(x), np.nanmin(y), 0) - 0.03,
        max(np.nanmax(x), np.nanmax(y), float(np.nanmean(ceiling))) + 0.03,
    ]
    ax.plot(ends, ends, color="#777777", linewidth=1, label="equal")
    ax.plot(x, y, "o", color=colour, alpha=0.6, markersize=5, markeredgewidth=0)
    ceiling_line(ceiling, ax)
    ax.axvline(float(np.nanmean(ceiling)), color=COLOURS["ceiling"], linestyle="--", linewidth=1)
    ax.axvline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    ax.set(xlabel=f"{xlabel}\n{EXPLAINED_VARIANCE}", ylabel=f"{ylabel}\n{EXPLAINED_VARIANCE}", xlim=ends, ylim=ends)
    ax.set_aspect("equal")
    ax.legend(fontsize=SMALL, frameon=False, loc="lower right")
    return ax


def receptive_fields(fields, centres, scores, *, n_shown=5, axes=None):
    """Receptive fields of the neurons that are predicted best, a panel each, and the centres of all in the last panel.

    Parameters
    ----------
    fields : array of shape (n_neurons, grid, grid), rows from the top of the image down
    centres : (n_neurons, 2), down and right in shares of the image
    scores : (n_neurons,), by which neurons are ordered and the centres are coloured
    axes : n_shown + 1 axes, new ones if None; returned
    """
    best = np.argsort(-np.asarray(scores), kind="stable")[:n_shown]
    if axes is None:
        axes = plt.subplots(1, len(best) + 1, figsize=(2.2 * (len(best) + 1), 2.6), layout="constrained")[1]
    for neuron, ax in zip(best, axes, strict=False):
        ax.imshow(fields[neuron], cmap="Greys", vmin=0, extent=(0, 1, 1, 0))
        ax.set_title(f"neuron {neuron}: {scores[neuron]:.2f}", fontsize=SMALL)
    drawn = axes[len(best)].scatter(centres[:, 1], centres[:, 0], c=scores, cmap="viridis", s=14)
    axes[len(best)].figure.colorbar(drawn, ax=axes[len(best)], label="leave-one-out R²")
    axes[len(best)].set_title("centres of all neurons", fontsize=SMALL)
    for ax in axes:
        ax.set(xlim=(0, 1), ylim=(1, 0), xticks=(0, 1), yticks=(0, 1), aspect="equal")
    axes[0].set(xlabel="share of the image's width", ylabel="share of its height")
    return axes


def neurons(panels, *, axes=None):
    """Neurons side by side: predicted against measured responses, tuning by category, and receptive field.

    panels : dict title -> (measured, predicted, categories, field): responses and categories of shape (n_images,), and
    the receptive field (grid, grid), rows from the top of the image down. Returns the axes, (3, n_neurons).
    """
    if axes is None:
        axes = plt.subplots(3, len(panels), figsize=(6.6, 6.4), layout="constrained", squeeze=False)[1]
    colours = {"measured": "black", "predicted": COLOURS["best model"]}
    for (title, (measured, predicted, categories, field)), (scatter, tuning, place) in zip(
        panels.items(), axes.T, strict=True
    ):
        sns.scatterplot(x=measured, y=predicted, color=colours["predicted"], s=16, linewidth=0, alpha=0.6, ax=scatter)
        scatter.axline((float(measured.mean()), float(measured.mean())), slope=1, color="#777777", linewidth=1)
        scatter.set_title(title, fontsize=SMALL + 1)
        scatter.set(xlabel="measured", ylabel="predicted response")
        both = pd.DataFrame({"category": categories, "measured": measured, "predicted": predicted}).melt("category")
        order = both[both["variable"] == "measured"].groupby("category")["value"].mean().sort_values().index[::-1][:8]
        shown = {"x": "category", "y": "value", "order": order, "hue": "variable", "palette": colours, "dodge": 0.3}
        sns.pointplot(both, **shown, errorbar="se", linestyle="none", markersize=4, legend=False, ax=tuning)
        tuning.tick_params(axis="x", labelrotation=90, labelsize=SMALL)
        tuning.set(xlabel="", ylabel="mean response")
        place.imshow(field, cmap="Greys", vmin=0, extent=(0, 1, 1, 0))
        place.set(xticks=(0, 1), yticks=(0, 1), xlabel="share of width", ylabel="share of height")
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    for words, colour in colours.items():
        axes[1, 0].plot([], [], "o", color=colour, markersize=4, label=words)
    axes[1, 0].legend(fontsize=SMALL, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), handletextpad=0)
    return axes


def dissimilarities(panels, categories):
    """Representational dissimilarity matrices side by side, as ranks: dark for images that are alike.

    panels : dict title -> dissimilarities (n_images, n_images). categories : (n_images,), sorted. Returns the axes.
    """
    axes = plt.subplots(1, len(panels), figsize=(7.4, 2.5), layout="constrained", squeeze=False)[1][0]
    names, starts, counts = np.unique(categories, return_index=True, return_counts=True)
    for (title, matrix), ax in zip(panels.items(), axes, strict=True):
        ranks = pd.DataFrame(matrix).stack().rank(pct=True).unstack()
        sns.heatmap(ranks, cmap="mako", cbar=False, square=True, xticklabels=False, yticklabels=False, ax=ax)
        ax.set_title(title, fontsize=SMALL)
        for start in starts[1:]:
            ax.axhline(start, color="white", linewidth=0.5)
            ax.axvline(start, color="white", linewidth=0.5)
    if len(names) <= 10:
        axes[0].set_yticks(starts + counts / 2, names, fontsize=SMALL, rotation=0)
    return axes
