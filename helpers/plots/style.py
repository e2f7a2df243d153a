"""The marks that figures share: colours, the interval of a score, named rows, the ceiling, captions.

Colours mean the same approach everywhere, and are told apart by readers with any colour vision (Okabe & Ito 2008).
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import to_rgb

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
    "ceiling": "#000000",
}
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
    kinds = {"mean of": "readout", "fine-tuned": "repaired recipe", "pixels": "pixels", "shallow": "shallow CNN"}
    kinds |= {"(random weights)": "random weights", "object mean": "object mean"}
    return COLOURS[next((colour for kind, colour in kinds.items() if kind in name), "readout")]


def shades(colour, n):
    """Return n colours and line styles that stay one approach's: darker and lighter, solid and broken."""
    rgb = np.array(to_rgb(colour))
    tints = [rgb, 0.5 * rgb, 0.5 + 0.5 * rgb]
    return [(tuple(tints[i // 4 % 3]), ("-", "--", "-.", ":")[i % 4]) for i in range(n)]


def explain_dots(dots, ax):
    """Add dots to what a legend explains. dots : dict label -> colour; hollow where it is None."""
    for label, colour in dots.items():
        face = {"color": colour} if colour else {"color": "#444444", "markerfacecolor": "white"}
        ax.plot([], [], "o", label=label, **face)
    return ax


def legend_above(ax, *, ncols=2):
    """Put the legend of what has a label above an axis, beside the data."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=SMALL, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=ncols)
    return ax


def ceiling_line(ceiling, ax, *, vertical=False, highest=np.inf):
    """Dashed line at the mean noise ceiling (a number, or one per neuron), dotted line at 0, what a constant scores.

    A ceiling that would squeeze scores up to `highest` into half of the axis is a note instead.
    """
    ceiling, line = float(np.nanmean(ceiling)), ax.axvline if vertical else ax.axhline
    line(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    if ceiling < 2 * highest:
        line(ceiling, color=COLOURS["ceiling"], linestyle="--", linewidth=1, label="noise ceiling")
    else:
        note = f"noise ceiling {ceiling:.2f}, off the axis"
        ax.text(0.99, 0.01, note, transform=ax.transAxes, ha="right", va="bottom", fontsize=SMALL)
    return ax


def intervals(lines, ax, *, vertical=False):
    """Draw a dot and its interval per line, of every figure that has any; what is not defined is not drawn.

    lines : iterable of (position, metrics.Interval, colour, hollow). vertical : intervals along y, positions along x
    """
    for at, found, colour, hollow in lines:
        bar, dot = ([found.low, found.high], [at, at]), ([found.estimate], [at])
        ax.plot(*(bar[::-1] if vertical else bar), color=colour, linewidth=1.8)
        face = "white" if hollow else colour
        ax.plot(*(dot[::-1] if vertical else dot), "o", color=colour, markerfacecolor=face, markersize=7)
    return ax


def name_rows(names, ax, *, xlabel, width=34):
    """Name the rows of an axis, the first on top, with a line at 0: dict name -> height."""
    names = list(dict.fromkeys(names))
    heights = {name: len(names) - 1 - i for i, name in enumerate(names)}
    ax.set_yticks(list(heights.values()), [textwrap.fill(readable(name), width) for name in names], fontsize=SMALL + 1)
    ax.set(xlabel=xlabel, ylim=(-0.6, len(names) - 0.4))
    ax.axvline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    return heights


def row_note(text, y, ax):
    """Say in a row why it has no number."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    ax.text(0.01, y, text, va="center", fontsize=SMALL, color="#777777", transform=ax.get_yaxis_transform(), bbox=box)
