"""Figures: each function takes data and an axis (a new one if None) and returns the axis; notebooks save them."""

from helpers.plots.names import readable, short, stages
from helpers.plots.results import KINDS, LEAST_SQUARES, depth, differences, ladder, learning_curve, strip
from helpers.plots.scores import (
    by_layer,
    contact_sheet,
    curves,
    dissimilarities,
    distribution,
    largest,
    layer_violins,
    neuron_scatter,
    neurons,
    receptive_fields,
    tuning,
)
from helpers.plots.style import COLOURS, EXPLAINED_VARIANCE, HELD_OUT, caption, interval_rows, new_axis, recipe_colour

__all__ = [
    "COLOURS",
    "EXPLAINED_VARIANCE",
    "HELD_OUT",
    "KINDS",
    "LEAST_SQUARES",
    "by_layer",
    "caption",
    "contact_sheet",
    "curves",
    "depth",
    "differences",
    "dissimilarities",
    "distribution",
    "interval_rows",
    "ladder",
    "largest",
    "layer_violins",
    "learning_curve",
    "neuron_scatter",
    "neurons",
    "new_axis",
    "readable",
    "receptive_fields",
    "recipe_colour",
    "short",
    "stages",
    "strip",
    "tuning",
]
