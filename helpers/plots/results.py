"""Figures of results tables: rows and differences with their intervals, and lines by depth and number of images."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from helpers.plots import style
from helpers.plots.names import readable

LEAST_SQUARES = "least squares, as published"
KINDS = ("ridge, pretrained weights", "ridge, random weights", LEAST_SQUARES)  # of lines by depth


def strip(table, scores, *, ceiling, ax=None):
    """Rows by recipe: a dot per seed, the mean, and its interval; rows that are not compared say why.

    table : results table of `tables.results_table`. scores : frame of `tables.neuron_scores`. ceiling : noise ceiling.
    """
    refused = table.get("refused", pd.Series(index=table.index, dtype=object))
    shown = table["explained_variance"].notna() & refused.isna()
    by_seed = scores.groupby(["name", "seed"])["explained_variance"].mean()
    of_seeds = shown & (table["seeds"] > 1)
    several = table["row"].map(table.groupby("row")["recipe"].nunique()) > 1
    hollow = (table["weights"] == "random") & (table["stage"] > 1)
    frame = table.rename(columns={"explained_variance": "estimate"}).assign(
        colour=table["recipe"].map(style.recipe_colour),
        hollow=hollow,
        up=table["recipe"].map({"published": 0.16, "repaired": -0.16}).where(several, 0),
        dots=[by_seed[name].tolist() if many else [] for name, many in zip(table["name"], of_seeds, strict=True)],
        note=(table["recipe"] + " recipe: " + refused.fillna("not run")).mask(shown, ""),
    )
    ax = style.interval_rows(frame.set_index("row"), ceiling=ceiling, ax=ax)
    dots = {f"{recipe} recipe": style.recipe_colour(recipe) for recipe in table["recipe"].drop_duplicates()}
    dots |= {"random weights (stages 2, 3)": None} if (hollow & shown).any() else {}
    return style.legend_above(ax, dots=dots)


def differences(compared, *, xlabel="difference in explained variance (share of variance)", ax=None):
    """Paired differences with their intervals, hollow where it reaches 0; rows not compared say why.

    compared : `tables.differences`
    """
    frame = compared.rename(columns={"difference": "estimate"}).set_index("comparison")
    note = frame["verdict"].where(frame["estimate"].isna(), "")
    frame = frame.assign(colour="black", hollow=~((frame["low"] > 0) | (frame["high"] < 0)), note=note)
    return style.interval_rows(frame, xlabel=xlabel, ax=ax)


def learning_curve(frame, *, ceiling, ax=None):
    """Explained variance with its interval by the number of training images, a line per approach.

    frame : `learning_curve.learning_curve`'s. ceiling : noise ceiling, a number or one per neuron.
    """
    ax = style.new_axis(ax, size=(6, 3.8))
    for i, (approach, lines) in enumerate(frame.sort_values("n_train").groupby("approach", sort=False)):
        score = lines["explained_variance"]
        shown = {"fmt": "o--" if "mean of" in approach else "o-", "color": style.approach_colour(approach)}
        beside, ends = lines["n_train"] * 1.015**i, [score - lines["low"], lines["high"] - score]
        ax.errorbar(beside, score, ends, label=approach, linewidth=2, **shown)
    style.ceiling_line(ceiling, ax)
    numbers = sorted(frame["n_train"].unique())
    ax.set(xscale="log", xlabel="training images", ylabel=style.EXPLAINED_VARIANCE)
    ax.set_xticks(numbers, numbers)
    ax.minorticks_off()
    return style.legend_above(ax, ncols=1)


def published(frame, *, ax=None):
    """Published scores by what was done, a dot each. frame : of `report.published.by_approach`"""
    ax = style.new_axis(ax, size=(6, 3.6))
    palette = dict(zip(frame["source"].cat.categories, style.GREYS, strict=True))
    best = frame.groupby("approach")["explained_variance"].max().sort_values(ascending=False).index
    rows = {"x": "explained_variance", "y": "approach", "order": best, "jitter": False, "dodge": True}
    colours = {"hue": "source", "palette": palette, "alpha": 0.8}
    sns.stripplot(frame, **rows, **colours, size=7, ax=ax)
    style.zero_line(ax.axvline)
    ax.set(xlabel=style.EXPLAINED_VARIANCE, ylabel="")
    return style.legend_above(ax, ncols=3)


def ladder(panels):
    """From the lowest bar to the best model, a panel per data set: a dot with its interval, small dots for seeds.

    panels : dict title -> frame of `evidence.ladder`: columns model, approach, estimate, low, high, seeds (scores, as
    text with spaces), ceiling. Returns the axes.
    """
    rungs = list(dict.fromkeys(model for frame in panels.values() for model in frame["model"]))[::-1]
    size = 6.2, 1.3 + 0.36 * len(rungs)
    axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", sharey=True, squeeze=False)[1][0]
    for (title, frame), ax in zip(panels.items(), axes, strict=True):
        dots = [[float(score) for score in str(scores).split()] for scores in frame["seeds"]]
        rows = frame.assign(colour=frame["approach"].map(style.COLOURS), dots=dots).set_index("model").reindex(rungs)
        style.interval_rows(rows, xlabel="explained variance", width=22 if len(panels) > 1 else 24, ax=ax)
        for height, score in zip(ax.get_yticks(), rows["estimate"], strict=True):
            words = "" if np.isnan(score) else f"{score:.2f}"
            ax.text(1, height, words, ha="right", va="center", transform=ax.get_yaxis_transform())
        ceiling = frame["ceiling"].iloc[0]
        ax.axvline(ceiling, color=style.COLOURS["ceiling"], linestyle="--", linewidth=1)
        ax.annotate("ceiling", (ceiling, 0.3), (-3, 0), textcoords="offset points", fontsize=style.SMALL, ha="right")
        ax.set_title(title, fontsize=style.SMALL, loc="left")
        low, high = ax.get_xlim()
        ax.set_xlim(low, max(ceiling, high) + 0.24 * (max(ceiling, high) - low))  # with room for the numbers
    return axes


def depth(frame, *, ceiling, ax=None):
    """Explained variance by how deep in its network a layer lies, a line per network, weights and method.

    frame : columns depth (0 for the first layer, 1 for the last), network, kind (of `KINDS`), explained_variance.
    """
    ax = style.new_axis(ax, size=(5, 4.6))
    markers = dict(zip(frame["network"].unique(), itertools.cycle("oXsD^vPp*hd<>8"), strict=False))
    for kind in KINDS:
        shown = {"x": "depth", "y": "explained_variance", "style": "network", "markers": markers, "dashes": False}
        drawn = {"color": style.approach_colour(kind), "linestyle": "--" if kind == LEAST_SQUARES else "-"}
        sns.lineplot(frame[frame["kind"] == kind], **shown, **drawn, legend=False, ax=ax)
        ax.plot([], [], **drawn, label=kind)
    style.ceiling_line(ceiling, ax)
    for network, marker in markers.items():
        ax.plot([], [], marker, color="#777777", label=readable(network))
    ax.set(xlabel="relative depth of the layer (0: first, 1: last)", ylabel=style.EXPLAINED_VARIANCE, ylim=(-0.3, None))
    return style.legend_above(ax)
