"""A widget that turns the pages of `page.figure`: models, neurons in an order of one's choice, previous and next."""

import io

import ipywidgets
import numpy as np
from matplotlib import pyplot as plt

from helpers.explore import page

ALONE = "no other"
ORDERS = ("score", "noise ceiling", "preferred category", "number")


def explore(done, dataset, ceiling, *, model=None):
    """Pick a model and a neuron, see its page (`page.figure`); a second model beside it where one is chosen.

    It opens on the neuron of the median score. Core widgets only, so that ipywidgets from 7.7 on show it. The page is a
    picture, drawn anew at each choice; no figure stays open.

    Parameters
    ----------
    done : dict name -> list of runs, one a seed, from runs.run_all or `held.held`
    dataset : Dataset
    ceiling : array of shape (n_neurons,) or float
    model : the name that it opens on; None for the first

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    ValueError
        If there are no runs.
    """
    if not done:
        raise ValueError("no finished runs to explore")
    narrow = {"layout": {"width": "400px", "max_width": "98%"}}  # two beside each other beside JupyterLab's files
    first = ipywidgets.Dropdown(options=list(done), value=model or next(iter(done)), description="model", **narrow)
    second = ipywidgets.Dropdown(options=[ALONE, *done], description="beside", **narrow)
    order = ipywidgets.Dropdown(options=ORDERS, description="sorted by", layout={"width": "240px"})
    steps = [ipywidgets.Button(description=word, layout={"width": "80px"}) for word in ("previous", "next")]
    by_score = in_order("score", done[first.value], dataset, ceiling)
    neuron = ipywidgets.SelectionSlider(
        options=by_score, value=by_score[len(by_score) // 2], description="neuron", continuous_update=False, **narrow
    )
    picture = ipywidgets.Image(format="png")

    def turn(_=None):
        beside = None if second.value in (ALONE, first.value) else second.value
        shown = {"model": first.value, "beside": beside, "neuron": neuron.value}
        picture.value = png(page.figure(done, dataset, ceiling=ceiling, **shown))

    def sort(_=None):
        kept = neuron.value
        neuron.unobserve(turn, names="value")
        neuron.options = in_order(order.value, done[first.value], dataset, ceiling)
        neuron.value = kept
        neuron.observe(turn, names="value")

    for button, step in zip(steps, (-1, 1), strict=True):
        button.on_click(lambda _, step=step: setattr(neuron, "index", (neuron.index + step) % dataset.n_neurons))
    first.observe(sort, names="value")
    order.observe(sort, names="value")
    for control in (first, second, neuron):
        control.observe(turn, names="value")
    turn()
    rows = [[first, second], [order, neuron, *steps]]
    rows = [ipywidgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
    return ipywidgets.VBox([*rows, picture])


def in_order(by, runs, dataset, ceiling):
    """Neurons in one of `ORDERS`, highest first, what is not defined last: list of int.

    By preferred category, the one with the highest mean measured response, neurons stand by score within each.
    """
    score = np.nan_to_num(page.explained(runs, dataset), nan=-np.inf)
    if by == "number":
        return list(range(dataset.n_neurons))
    if by == "noise ceiling":
        score = np.nan_to_num(np.broadcast_to(ceiling, score.shape), nan=-np.inf)
    keys = [-score]
    if by == "preferred category":
        names = np.unique(dataset.val.categories)
        means = [dataset.val.responses[dataset.val.categories == name].mean(0) for name in names]
        keys.append(np.argmax(means, axis=0))
    return np.lexsort(keys).tolist()


def png(drawn):
    """The picture of a page, 880 pixels wide, as bytes; closes the figure."""
    picture = io.BytesIO()
    drawn.savefig(picture, format="png", dpi=80, bbox_inches=page.WITH_CAPTION)
    plt.close(drawn)
    return picture.getvalue()
