"""Figures: each function takes data and an axis (a new one if None) and returns the axis; notebooks save them.

Colours mean the same approach everywhere, and are told apart by readers with any colour vision (Okabe & Ito 2008).
"""

import matplotlib.pyplot as plt
import numpy as np

COLOURS = {
    "pixels": "#999999",
    "random weights": "#56B4E9",
    "shallow CNN": "#E69F00",
    "published recipe": "#D55E00",
    "repaired recipe": "#0072B2",
    "two objectives": "#CC79A7",
    "readout": "#009E73",
    "ceiling": "#000000",
}
EXPLAINED_VARIANCE = "explained variance (share of variance)"


def ceiling_line(ceiling, ax, *, vertical=False):
    """Dashed line at the mean noise ceiling (a number, or one per neuron), dotted line at 0, what a constant scores."""
    line = ax.axvline if vertical else ax.axhline
    line(float(np.nanmean(ceiling)), color=COLOURS["ceiling"], linestyle="--", linewidth=1, label="noise ceiling")
    line(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    return ax


def new_axis(ax, *, size=(6, 4)):
    return ax if ax is not None else plt.subplots(figsize=size, layout="constrained")[1]
