"""Figures: each function takes data and an axis (a new one if None) and returns the axis; notebooks save them."""

from helpers.plots.names import readable, stages
from helpers.plots.results import KINDS, LEAST_SQUARES, depth, differences, front, ladder, learning_curve, strip
from helpers.plots.scores import (
    category_lines,
    contact_sheet,
    curves,
    dissimilarities,
    distribution,
    interval_rows,
    layer_violins,
    neuron_scatter,
    neurons,
    receptive_fields,
)
from helpers.plots.style import (
    COLOURS,
    EXPLAINED_VARIANCE,
    HELD_OUT,
    caption,
    ceiling_line,
    new_axis,
    recipe_colour,
    shades,
)

__all__ = [
    "COLOURS",
    "EXPLAINED_VARIANCE",
    "HELD_OUT",
    "KINDS",
    "LEAST_SQUARES",
    "caption",
    "category_lines",
    "ceiling_line",
    "contact_sheet",
    "curves",
    "depth",
    "differences",
    "dissimilarities",
    "distribution",
    "front",
    "interval_rows",
    "ladder",
    "layer_violins",
    "learning_curve",
    "neuron_scatter",
    "neurons",
    "new_axis",
    "readable",
    "receptive_fields",
    "recipe_colour",
    "shades",
    "stages",
    "strip",
]
