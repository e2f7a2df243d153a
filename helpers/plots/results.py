"""Figures of results tables: rows and differences with their intervals, and what scores cost."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from helpers.plots.names import readable
from helpers.plots.style import (
    COLOURS,
    EXPLAINED_VARIANCE,
    SMALL,
    approach_colour,
    ceiling_line,
    explain_dots,
    intervals,
    legend_above,
    name_rows,
    new_axis,
    recipe_colour,
    row_note,
)

LEAST_SQUARES = "least squares, as published"
KINDS = {  # of lines by depth
    "ridge, pretrained weights": COLOURS["readout"],
    "ridge, random weights": COLOURS["random weights"],
    LEAST_SQUARES: COLOURS["published recipe"],
}


def comparable(table):
    """Return the lines of a results table that have a score and are not refused, with the score as `estimate`."""
    table = table[table["refused"].isna()] if "refused" in table else table
    return table.dropna(subset="explained_variance").rename(columns={"explained_variance": "estimate"})


def strip(table, scores, *, ceiling, ax=None):
    """Rows by recipe: a dot per seed, the mean, and its interval; rows that are not compared say why.

    table : results table of `tables.results_table`. scores : frame of `tables.neuron_scores`. ceiling : noise ceiling.
    """
    rows, shown = table["row"].drop_duplicates().tolist(), comparable(table)
    ax = new_axis(ax, size=(8, 1 + 0.55 * len(rows)))
    heights = name_rows(rows, ax, xlabel=EXPLAINED_VARIANCE, width=32)
    both = table.groupby("row")["recipe"].nunique()
    shift = table["recipe"].map({"published": 0.16, "repaired": -0.16}).where(table["row"].map(both) > 1, 0)
    at = table["row"].map(heights) + shift
    by_seed = scores.groupby(["name", "seed"])["explained_variance"].mean()
    for line in shown[shown["seeds"] > 1].itertuples():
        seeds = by_seed[line.name]
        ax.plot(seeds, np.full(len(seeds), at[line.Index] - 0.1), ".", color=recipe_colour(line.recipe), alpha=0.6)
    hollow = (shown["weights"] == "random") & (shown["stage"] > 1)
    lines = ((at[line.Index], line, recipe_colour(line.recipe), hollow[line.Index]) for line in shown.itertuples())
    intervals(lines, ax)
    for index, line in table.drop(shown.index).iterrows():
        refused = line.get("refused")
        row_note(f"{line['recipe']} recipe: {refused if isinstance(refused, str) else 'not run'}", at[index], ax)
    ceiling_line(ceiling, ax, vertical=True, highest=shown["high"].max())
    dots = {f"{recipe} recipe": recipe_colour(recipe) for recipe in table["recipe"].drop_duplicates()}
    explain_dots(dots | ({"random weights (stages 2, 3)": None} if hollow.any() else {}), ax)
    return legend_above(ax, ncols=4)


def differences(compared, *, xlabel="difference in explained variance (share of variance)", ax=None):
    """Paired differences with their intervals, hollow where it reaches 0; rows not compared say why.

    compared : `tables.differences`
    """
    ax = new_axis(ax, size=(6, 0.9 + 0.45 * len(compared)))
    heights = name_rows(compared["comparison"].tolist(), ax, xlabel=xlabel, width=30)
    found = compared.assign(estimate=compared["difference"], at=compared["comparison"].map(heights))
    intervals(((line.at, line, "black", not (line.low > 0 or line.high < 0)) for line in found.itertuples()), ax)
    for line in found[found["difference"].isna()].itertuples():
        row_note(line.verdict, line.at, ax)
    return ax


def learning_curve(frame, *, ceiling, ax=None):
    """Explained variance with its interval by the number of training images, a line per approach.

    frame : `learning_curve.learning_curve`'s. ceiling : noise ceiling, a number or one per neuron.
    """
    ax = new_axis(ax, size=(7.5, 4.5))
    frame = frame.rename(columns={"explained_variance": "estimate"}).sort_values("n_train")
    for i, (approach, lines) in enumerate(frame.groupby("approach", sort=False)):
        colour, style = approach_colour(approach), "--" if "mean of" in approach else "-"
        x = lines["n_train"] * 1.015**i  # bars beside each other
        ax.plot(x, lines["estimate"], style, color=colour, linewidth=2, label=approach)
        intervals(
            ((at, line, colour, False) for at, line in zip(x, lines.itertuples(), strict=True)), ax, vertical=True
        )
    ceiling_line(ceiling, ax)
    numbers = sorted(frame["n_train"].unique())
    ax.set(xscale="log", xlabel="training images", ylabel=EXPLAINED_VARIANCE)
    ax.set_xticks(numbers, numbers)
    ax.minorticks_off()
    return legend_above(ax, ncols=3)


def front(table, *, chance, ceiling, ax=None):
    """Explained variance with its interval against object accuracy, a point per label weight, one backbone.

    Rows without an object head (weight 0) are horizontal lines; random weights are hollow. table : results table with
    a column label_weight. chance : object accuracy of guessing.
    """
    ax, shown = new_axis(ax, size=(6, 5)), comparable(table)
    for line in shown.itertuples():
        colour, random = recipe_colour(line.recipe), line.weights == "random"
        if line.label_weight == 0:
            ax.axhline(line.estimate, color=colour, linewidth=1, linestyle=":" if random else "-")
            continue
        intervals([(line.object_accuracy, line, colour, random)], ax, vertical=True)
        at = {"xytext": (7, 4 if line.label_weight < 1 else -13), "textcoords": "offset points", "fontsize": SMALL}
        ax.annotate(f"{line.label_weight:g}", (line.object_accuracy, line.estimate), **at)
    ax.axvline(chance, color="#777777", linestyle="--", linewidth=1, label=f"chance: {chance:.3f}")
    ax.plot([], [], color="#444444", linewidth=1, label="label weight 0 (no object head)")
    ceiling_line(ceiling, ax)
    ax.set(xlabel="object accuracy (share of val images)", ylabel=EXPLAINED_VARIANCE, xlim=(-0.03, 1.03))
    dots = {f"{recipe} recipe": recipe_colour(recipe) for recipe in table["recipe"].drop_duplicates()}
    return explain_dots(dots | {"from random weights": None}, ax)


def ladder(panels):
    """From the lowest bar to the best model, a panel per data set: a dot with its interval, small dots for seeds.

    panels : dict title -> frame of `evidence.ladder`: columns model, approach, estimate, low, high, seeds (scores, as
    text with spaces), ceiling. Returns the axes.
    """
    rungs = list(dict.fromkeys(model for frame in panels.values() for model in frame["model"]))
    narrow = len(panels) > 1
    size = (7.4 if narrow else 6.4, 1.3 + (0.4 if narrow else 0.33) * len(rungs))
    axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", sharey=True, squeeze=False)[1][0]
    for (title, frame), ax in zip(panels.items(), axes, strict=True):
        heights = name_rows(rungs[::-1], ax, xlabel="explained variance", width=22 if narrow else 32)
        for line in frame.itertuples():
            at, colour = heights[line.model], COLOURS[line.approach]
            intervals([(at, line, colour, False)], ax)
            seeds = [float(score) for score in str(line.seeds).split()]
            ax.plot(seeds, np.full(len(seeds), at - 0.22), ".", color=colour, markersize=4)
            ax.text(1, at, f"{line.estimate:.2f}", ha="right", va="center", transform=ax.get_yaxis_transform())
        ceiling = frame["ceiling"].iloc[0]
        ax.axvline(ceiling, color=COLOURS["ceiling"], linestyle="--", linewidth=1)
        ax.annotate("ceiling", (ceiling, -0.5), (-3, 0), textcoords="offset points", fontsize=SMALL, ha="right")
        ax.set_title(title, fontsize=SMALL + 2, loc="left")
        ends = min(0, frame["low"].min()), max(ceiling, frame["high"].max())
        ax.set_xlim(ends[0] - 0.03, ends[1] + 0.24 * (ends[1] - ends[0]))  # with room for the numbers
    return axes


def depth(frame, *, ceiling, ax=None):
    """Explained variance by how deep in its network a layer lies, a line per network, weights and method.

    frame : columns depth (0 for the first layer, 1 for the last), network, kind (of `KINDS`), explained_variance.
    """
    ax = new_axis(ax, size=(5, 4.6))
    markers = dict(zip(frame["network"].unique(), itertools.cycle("oXsD^vPp*hd<>8"), strict=False))
    for kind, style in {kind: "--" if kind == LEAST_SQUARES else "-" for kind in KINDS}.items():
        shown = {"x": "depth", "y": "explained_variance", "style": "network", "markers": markers, "dashes": False}
        of_kind = frame[frame["kind"] == kind]
        sns.lineplot(of_kind, **shown, color=KINDS[kind], linestyle=style, legend=False, ax=ax)
        ax.plot([], [], style, color=KINDS[kind], label=kind)
    for network, marker in markers.items():
        ax.plot([], [], marker, color="#777777", label=readable(network))
    ceiling_line(ceiling, ax)
    ax.set(xlabel="relative depth of the layer (0: first, 1: last)", ylabel=EXPLAINED_VARIANCE, ylim=(-0.3, None))
    return legend_above(ax, ncols=2)
