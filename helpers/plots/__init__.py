"""Figures: each function takes data and an axis (a new one if None) and returns the axis; notebooks save them."""

from helpers.plots.results import differences, front, learning_curve, strip
from helpers.plots.scores import (
    category_lines,
    contact_sheet,
    curves,
    depth_lines,
    distribution,
    interval_rows,
    layer_violins,
    neuron_scatter,
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
    "caption",
    "category_lines",
    "ceiling_line",
    "contact_sheet",
    "curves",
    "depth_lines",
    "differences",
    "distribution",
    "front",
    "interval_rows",
    "layer_violins",
    "learning_curve",
    "neuron_scatter",
    "new_axis",
    "receptive_fields",
    "recipe_colour",
    "shades",
    "strip",
]
