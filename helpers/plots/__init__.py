"""Figures: each function takes data and an axis (a new one if None) and returns the axis; notebooks save them."""

from helpers.plots.results import cost_front, differences, front, learning_curve, published_numbers, strip
from helpers.plots.scores import (
    category_lines,
    contact_sheet,
    curves,
    distribution,
    interval_rows,
    layer_violins,
    neuron_scatter,
    receptive_fields,
    seen_and_unseen,
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
    "cost_front",
    "curves",
    "differences",
    "distribution",
    "front",
    "interval_rows",
    "layer_violins",
    "learning_curve",
    "neuron_scatter",
    "new_axis",
    "published_numbers",
    "receptive_fields",
    "recipe_colour",
    "seen_and_unseen",
    "shades",
    "strip",
]
