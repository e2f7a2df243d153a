"""The marks that figures share: colours, rows of intervals, the ceiling, legends, captions.

Colours mean the same approach everywhere, and are told apart by readers with any colour vision (Okabe & Ito 2008).
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from helpers.plots.names import readable

COLOURS = {
    "pixels": "#999999",
    "random weights": "#56B4E9",
    "shallow CNN": "#E69F00",
    "published recipe": "#D55E00",
    "repaired recipe": "#0072B2",
    "readout": "#009E73",
    "object mean": "#444444",
    "best model": "#CC79A7",
    "mean of models": "#332288",
    "ceiling": "#000000",
}
GREYS = ("#000000", "#777777", "#BBBBBB")  # of what is no approach, as whose numbers are shown
SMALL = 10  # points; figures are at most 8 inches wide, so that print of this size is legible at 400 pixels
sns.set_theme(context="notebook", style="ticks", rc={"axes.spines.top": False, "axes.spines.right": False})
EXPLAINED_VARIANCE = "explained variance (share of variance)"
HELD_OUT = f"held-out training images:\n{EXPLAINED_VARIANCE}"


def new_axis(ax, *, size=(6, 4)):
    return ax if ax is not None else plt.subplots(figsize=size, layout="constrained")[1]


def caption(figure, text):
    """A line of small print under a figure: n, what dots and bars are and, on the stand-in, that it is simulated."""
    lines = textwrap.fill(text, int(figure.get_figwidth() * 12))
    figure.text(0.5, -0.01, lines, ha="center", va="top", fontsize=SMALL, color="#444444")
    return figure


def recipe_colour(recipe):
    return COLOURS[f"{recipe} recipe"]


def approach_colour(name):
    """Return the colour of an approach, by a word of its name; a readout's where there is none."""
    kinds = {"mean of": "mean of models", "fine-tuned": "repaired recipe", "pixels": "pixels", "shallow": "shallow CNN"}
    kinds |= {"random weights": "random weights", "object mean": "object mean", "least squares": "published recipe"}
    return COLOURS[next((colour for kind, colour in kinds.items() if kind in name), "readout")]


def legend_above(ax, *, dots=None, ncols=2):
    """Put the legend of what has a label above an axis, beside the data.

    dots : dict label -> colour of dots that it explains as well; hollow where the colour is None
    """
    for label, colour in (dots or {}).items():
        ax.plot([], [], "o", label=label, color=colour or "#444444", markerfacecolor=colour or "white")
    if ax.get_legend_handles_labels()[0]:
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "handlelength": 3}  # tells dashes apart
        ax.legend(fontsize=SMALL, frameon=False, ncols=ncols, columnspacing=1.2, **place)
    return ax


def zero_line(line):
    """Dotted line at 0, what a constant scores. line : an axis's axhline or axvline"""
    line(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)


def _in_view(ceiling, highest):
    """Whether a mean ceiling leaves scores up to `highest` more than half of the axis."""
    return float(np.nanmean(ceiling)) < 2 * highest


def ceiling_line(ceiling, ax, *, vertical=False, highest=np.inf):
    """Dashed line at the mean noise ceiling (a number, or one per neuron), dotted line at 0, what a constant scores.

    A ceiling that would squeeze scores up to `highest` into half of the axis stands in the legend alone.
    """
    ceiling, line = float(np.nanmean(ceiling)), ax.axvline if vertical else ax.axhline
    zero_line(line)
    dashed = {"color": COLOURS["ceiling"], "linestyle": "--", "linewidth": 1}
    if _in_view(ceiling, highest):
        line(ceiling, **dashed, label="noise ceiling")
    else:
        ax.plot([], [], **dashed, label=f"noise ceiling {ceiling:.2f}, off the axis")
    return ax


def interval_rows(frame, *, xlabel=EXPLAINED_VARIANCE, ceiling=None, width=34, ax=None):
    """A dot and its 95 % interval per line of a frame, in rows that its index names, the first on top.

    frame : columns estimate, low and high; where they are, colour, hollow (a white dot), up (from the middle of its
    row), dots (scores of seeds, small, below) and note (why there is no number). What is not defined is not drawn.
    """
    heights = {name: -i for i, name in enumerate(dict.fromkeys(frame.index))}
    words = [textwrap.fill(readable(name), width) for name in heights]
    a_row = 0.15 + 0.17 * max((text.count("\n") + 1 for text in words), default=1)  # inches
    ax = new_axis(ax, size=(6, 1 + a_row * len(words)))
    ax.set_yticks(list(heights.values()), words, fontsize=SMALL + 1)
    ax.set(xlabel=xlabel, ylim=(0.4 - len(words), 0.6))
    zero_line(ax.axvline)
    plain = {"hollow": False, "up": 0.0, "dots": (), "note": ""}
    wide, seen = _wide(frame), [0.0]
    for name, given, is_wide in zip(frame.index, frame.to_dict("records"), wide, strict=True):
        line = plain | {"colour": approach_colour(name)} | given
        at, colour = heights[name] + line["up"], line["colour"]
        if line["note"]:
            place = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": SMALL, "color": "#777777"}
            ax.text(0.01, at, line["note"], **place, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        elif np.isfinite(line["estimate"]):
            ax.plot([line["low"], line["high"]], [at, at], color=colour, linewidth=1.8)
            face = "white" if line["hollow"] else colour
            ax.plot([line["estimate"]], [at], "o", color=colour, markerfacecolor=face, markersize=7)
            ax.plot(line["dots"], np.full(len(line["dots"]), at - 0.2), ".", color=colour, markersize=4)
            seen += [line["estimate"], *line["dots"], *(() if is_wide else (line["low"], line["high"]))]
            if is_wide:
                words = f"{line['low']:.2f} to {line['high']:.2f}"
                ax.annotate(words, (line["estimate"], at), (0, 6), textcoords="offset points", fontsize=SMALL)
    low, high = np.nanmin(seen), np.nanmax(seen)
    if ceiling is not None:
        ceiling_line(ceiling, ax, vertical=True, highest=high)
        high = max(high, float(np.nanmean(ceiling))) if _in_view(ceiling, high) else high
    if wide.any():  # the axis ends where the others do
        ax.set_xlim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    return legend_above(ax)


def _wide(frame):
    """Which rows' intervals are so many times as wide as most that they would squeeze the others: booleans."""
    width = (frame["high"] - frame["low"]).where(frame["estimate"].notna())
    return width > 6 * width[width > 0].median()
