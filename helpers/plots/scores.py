"""Figures of images, neurons, layers and training: each takes data and an axis, and returns the axis."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from helpers.plots import style
from helpers.plots.names import short


def largest(categories, n):
    """The n categories that most images have, sorted by name. categories : (n_images,)"""
    return sorted(pd.Series(categories).value_counts().sort_index().nlargest(n).index)


def contact_sheet(images, objects, categories, *, n_columns=12, n_rows=8, side=64, ax=None):
    """Images in rows of one category each, the objects of a category in turn.

    images : array of shape (n_images, 1 or 3, height, width), uint8 or float in [0, 1]. objects, categories :
    (n_images,). At most `n_rows` categories, the largest; images are thinned to about `side` pixels.
    """
    names = largest(categories, n_rows)
    step = max(1, round(max(images.shape[2:]) / side))
    pixels = np.moveaxis(images[:, :, ::step, ::step], 1, -1) / (255 if images.dtype == np.uint8 else 1)
    pixels = np.round(pixels * 31) / 31  # as many grays as print shows; the notebook's file stays small
    labels = pd.DataFrame({"category": categories, "object": objects})
    labels["turn"] = labels.groupby(["category", "object"]).cumcount()
    rows = [labels[labels["category"] == name].sort_values(["turn", "object"]).index[:n_columns] for name in names]
    height, width = pixels.shape[1] + 2, pixels.shape[2] + 2  # with a white gap
    sheet = np.ones((len(names) * height, max(map(len, rows)) * width, pixels.shape[3]))
    for top, members in enumerate(rows):
        for left, image in enumerate(members):
            sheet[top * height : (top + 1) * height - 2, left * width : (left + 1) * width - 2] = pixels[image]
    inches = 0.75 * max(map(len, rows))  # of the rows, beside their names
    ax = style.new_axis(ax, size=(inches + 1.5, 0.5 + inches * len(sheet) / sheet.shape[1]))
    ax.imshow(sheet.repeat(3, axis=2) if sheet.shape[2] == 1 else sheet, interpolation="nearest")
    ax.set_yticks((np.arange(len(names)) + 0.5) * height, names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def distribution(values, *, xlabel, what, colour="#777777", ax=None):
    """Histogram with the median marked. values : array of any shape, NaN left out; what : what is counted."""
    ax = style.new_axis(ax, size=(4, 3))
    values = np.asarray(values)[np.isfinite(values)]
    ax.set(xlabel=xlabel, ylabel=f"number of {what}")
    if not values.size:
        ax.text(0.5, 0.5, "undefined", ha="center", transform=ax.transAxes)
        return ax
    ax.hist(values, bins=int(np.clip(values.size**0.5, 8, 40)), color=colour)
    ax.axvline(np.median(values), color="black", linewidth=1.5, label=f"median {np.median(values):.2f}")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return style.legend_above(ax)


def by_layer(frame, *, ylabel=style.EXPLAINED_VARIANCE, ceiling=None, colours=None, ax=None):
    """A value by layer, or by stage: a line per column of a frame, dashed for least squares; its index in order.

    colours : dict column -> colour; None for those of approaches
    """
    ax = style.new_axis(ax, size=(7.5, 4.2))
    for name, values in frame.items():
        marks, colour = "s--" if "least squares" in name else "o-", (colours or {}).get(name)
        ax.plot(range(len(frame)), values, marks, color=colour or style.approach_colour(name), label=name)
    if ceiling is None:
        style.zero_line(ax.axhline)
    else:
        style.ceiling_line(ceiling, ax)
    ax.set_xticks(range(len(frame)), [textwrap.fill(str(layer), 8) for layer in frame.index], fontsize=style.SMALL)
    ax.set(xlabel="", ylabel=ylabel)
    return style.legend_above(ax)


def layer_violins(scores, *, ceiling, ax=None):
    """Explained variance by layer: halves of a violin over neurons, one for each weights; a dot for the mean.

    scores : dict "trained weights" and "random weights" -> frame (n_neurons, n_layers), a column per layer
    """
    tidy = pd.concat(scores, names=["weights", "neuron"]).melt(ignore_index=False, var_name="layer").reset_index()
    ax = style.new_axis(ax, size=(8, 4.5))
    palette = {name: style.approach_colour(name) for name in scores}
    shown = {"x": "layer", "y": "value", "hue": "weights", "palette": palette, "split": True, "inner": None}
    sns.violinplot(tidy, **shown, linewidth=0, cut=0, alpha=0.6, legend=False, ax=ax)
    means = pd.DataFrame({f"{name}, mean": values.mean() for name, values in scores.items()})
    return by_layer(means, ceiling=ceiling, ax=ax)


def curves(histories, quantity, *, colour, ylabel, ax=None):
    """A quantity of `loop.fit`'s history per epoch: a line per label, the mean of its seeds, and a band of their range.

    histories : dict label -> list of histories, one a seed.
    """
    epochs = {label: pd.concat(map(pd.DataFrame, seeds)) for label, seeds in histories.items() if seeds}
    epochs = pd.concat(epochs, names=["label", "epoch"]).reset_index()
    ax = style.new_axis(ax)
    shades = sns.dark_palette(colour, len(histories) + 1)[1:]
    shown = {"x": "epoch", "y": quantity, "hue": "label", "style": "label", "palette": shades, "errorbar": ("pi", 100)}
    sns.lineplot(epochs.assign(epoch=epochs["epoch"] + 1), **shown, markers=["."] * len(histories), markersize=5, ax=ax)
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return style.legend_above(ax, ncols=1)


def neuron_scatter(x, y, *, xlabel, ylabel, ceiling, colour, ax=None):
    """Two models neuron by neuron: explained variance of one against the other, with the identity line.

    x, y : arrays of shape (n_neurons,).
    """
    ax = style.new_axis(ax, size=(5, 5))
    ends = np.nanmin([*x, *y, 0]) - 0.03, np.nanmax([*x, *y, float(np.nanmean(ceiling))]) + 0.03
    ax.plot(ends, ends, color="#777777", linewidth=1, label="equal")
    ax.plot(x, y, "o", color=colour, alpha=0.6, markersize=5, markeredgewidth=0)
    style.ceiling_line(ceiling, ax)
    score = style.EXPLAINED_VARIANCE
    ax.set(xlabel=f"{xlabel}\n{score}", ylabel=f"{ylabel}\n{score}", xlim=ends, ylim=ends, aspect="equal")
    return style.legend_above(ax)


def place(field, ax):
    """Where in the image a neuron is driven from: dark where it is. field : (grid, grid), rows from the top down."""
    ax.imshow(field, cmap="Greys", vmin=0, extent=(0, 1, 1, 0))
    ax.set(xlim=(0, 1), ylim=(1, 0), xticks=(0, 1), yticks=(0, 1), aspect="equal")
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
        n_rows = int(np.ceil((len(best) + 1) / 3))
        axes = plt.subplots(n_rows, 3, figsize=(7.4, 2.6 * n_rows), layout="constrained")[1].ravel()
    for neuron, ax in zip(best, axes, strict=False):
        place(fields[neuron], ax).set_title(f"neuron {neuron}: {scores[neuron]:.2f}", fontsize=style.SMALL)
    last = axes[len(best)]
    drawn = last.scatter(centres[:, 1], centres[:, 0], c=scores, cmap="viridis", s=14)
    last.figure.colorbar(drawn, ax=last, label="leave-one-out R²")
    last.set_title("centres of all neurons", fontsize=style.SMALL)
    last.set(xlim=(0, 1), ylim=(1, 0), xticks=(0, 1), yticks=(0, 1), aspect="equal")
    for ax in axes[len(best) + 1 :]:
        ax.set_axis_off()
    axes[0].set(xlabel="share of width", ylabel="share of height")
    return axes[: len(best) + 1]


def tuning(responses, categories, names, *, colours, ax):
    """Mean response by category, the highest by the first responses first; bars for the standard error of the mean.

    responses : dict label -> (n_images,), the first measured; colours : one for each. names : of categories shown
    """
    found = pd.DataFrame(responses).groupby(np.asarray(categories)).agg(["mean", "sem"]).loc[names]
    found = found.sort_values((next(iter(responses)), "mean"), ascending=False)
    for i, (label, colour, mark) in enumerate(zip(responses, colours, "oos", strict=False)):
        at, of = np.arange(len(found)) + 0.2 * (i - (len(responses) - 1) / 2), found[label]
        face = "white" if mark == "s" else colour
        ax.errorbar(at, of["mean"], of["sem"], fmt=mark, color=colour, markerfacecolor=face, markersize=5, label=label)
    names = [short(name) for name in found.index]
    ax.set_xticks(range(len(found)), names, rotation=45, ha="right", fontsize=style.SMALL)
    ax.set(ylabel="mean response", xlim=(-0.6, len(found) - 0.4))
    return ax


def neurons(panels):
    """Neurons side by side: predicted against measured responses, tuning by category, and receptive field.

    panels : dict title -> (measured, predicted, categories, field): responses and categories of shape (n_images,), and
    the receptive field (grid, grid), rows from the top of the image down. Returns the axes, (3, n_neurons).
    """
    axes = plt.subplots(3, len(panels), figsize=(6.2, 5.9), layout="constrained", squeeze=False)[1]
    colours = "black", style.COLOURS["best model"]
    for (title, (measured, predicted, categories, field)), column in zip(panels.items(), axes.T, strict=True):
        scatter = column[0]
        scatter.plot(measured, predicted, "o", color=colours[1], markersize=4, alpha=0.6, markeredgewidth=0)
        scatter.axline((float(measured.mean()),) * 2, slope=1, color="#777777", linewidth=1)
        scatter.set_title(title, fontsize=style.SMALL)
        scatter.set(xlabel="measured", ylabel="predicted response")
        both = {"measured": measured, "predicted": predicted}
        names = tuning(both, categories, largest(categories, 8), colours=colours, ax=column[1]).get_xticklabels()
        plt.setp(names, rotation=90, ha="center")  # a panel of two inches holds eight upright
        place(field, column[2]).set(xlabel="share of width", ylabel="share of height")
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    middle = axes[1, len(panels) // 2]
    middle.legend(fontsize=style.SMALL, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return axes


def dissimilarities(panels, categories):
    """Representational dissimilarity matrices side by side, as ranks: dark for images that are alike.

    panels : dict title -> dissimilarities (n_images, n_images). categories : (n_images,), sorted. Returns the axes.
    """
    size = 6.2, 0.6 + 5.4 / len(panels)
    axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)[1][0]
    names, starts, counts = np.unique(categories, return_index=True, return_counts=True)
    for (title, matrix), ax in zip(panels.items(), axes, strict=True):
        ranks = np.ceil(8 * pd.DataFrame(matrix).stack().rank(pct=True).unstack())  # eight shades: a small file
        ax.imshow(ranks, cmap="mako", interpolation="nearest")
        ax.set_title(title, fontsize=style.SMALL)
        ax.set(xticks=[], yticks=[])
        for start in starts[1:]:
            ax.axhline(start - 0.5, color="white", linewidth=0.5)
            ax.axvline(start - 0.5, color="white", linewidth=0.5)
    if len(names) <= 10:
        axes[0].set_yticks(starts + counts / 2 - 0.5, names, fontsize=style.SMALL)
    return axes
