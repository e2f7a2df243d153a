"""Figures: each function takes data and an axis (a new one if None) and returns the axis; notebooks save them."""

from helpers.plots.names import STRETCHED, readable, short, stages
from helpers.plots.results import KINDS, depth, differences, ladder, learning_curve, published, strip
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
