"""Networks of one's own as rows: any `make_model(pixels, n_neurons) -> nn.Module`, or a timm tag, by either recipe.

They go through `runs.run` as every row does. A finished run is found again by the meaning of the code that makes the
network, of what that code names beside it, and by the weights it begins with.
"""

import ast
import contextlib
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import torch
from torch import nn

from helpers import cache, models
from helpers.experiments.networks_and_recipes import EXPERIMENTS, TRANSFORMERS, Experiment
from helpers.experiments.runs import weights_of
from helpers.training.recipe import Recipe

LIKE_SHALLOW = "shallow-dropout-l2"  # whose recipes train a network that is no timm backbone
LIKE_CNN, LIKE_VIT = "lite0", "vit-tiny"  # and those of backbones
RECIPES = ("published", "repaired")


class ScaledOutput(nn.Module):
    """A network's predictions in units of its recipe, brought to those of the file when training is over.

    The loop folds the responses' scale into a `neuron_head`, which a network of one's own need not have.
    """

    def __init__(self, network, n_neurons):
        super().__init__()
        self.network = network
        self.neuron_head = nn.Module()
        self.neuron_head.register_buffer("weight", torch.ones(n_neurons, 1))
        self.neuron_head.register_buffer("bias", torch.zeros(n_neurons))

    def forward(self, images):  # (b, 3, h, w) -> (b, n_neurons), no object logits
        predicted, head = self.network(images), self.neuron_head
        expected = (len(images), len(head.bias))
        if not isinstance(predicted, torch.Tensor) or predicted.shape != expected:
            got = tuple(predicted.shape) if isinstance(predicted, torch.Tensor) else type(predicted).__name__
            raise ValueError(f"the network returned {got}; expected (n_images, n_neurons) = {expected}")
        return predicted * head.weight[:, 0] + head.bias, None


@dataclass(frozen=True)
class OwnNetwork(Experiment):
    """A row whose network `make_model` makes; `code` is what its runs are found again by."""

    make_model: Callable = field(default=None, repr=False)
    code: str = ""

    def build(self, dataset, seed):
        torch.manual_seed(seed)
        network = self.make_model(dataset.images.shape[2:], dataset.n_neurons)
        if not isinstance(network, nn.Module):
            raise ValueError(f"{self.row}: made a {type(network).__name__}; expected a torch.nn.Module")
        return ScaledOutput(network, dataset.n_neurons), models.RANDOM


def row(name, network, dataset, profile, *, recipe="repaired"):
    """A row for a network of one's own, to be run by `runs.run`.

    Parameters
    ----------
    name : str, of the row in tables and figures
    network : function or class, called with (height, width) and n_neurons, that returns an nn.Module; normalised images
        (b, 3, height, width) go in, predictions (b, n_neurons) come out. Or a full timm tag, whose pretrained weights
        are fine-tuned.
    dataset : Dataset, as `profile.prepare` returned it
    recipe : "published", "repaired", or a Recipe, which takes the place of the repaired one

    Returns
    -------
    Experiment

    Raises
    ------
    ValueError
        For a recipe or a timm tag that there is not, weights that cannot be had, code that cannot be read, or a network
        that does not predict every neuron.
    """
    own, recipe = (recipe, "repaired") if isinstance(recipe, Recipe) else (None, recipe)
    if recipe not in RECIPES:
        raise ValueError(f"no recipe {recipe!r}; expected one of {', '.join(RECIPES)}, or a Recipe")
    named = {"name": f"own {quote(name, safe=' ')}-{recipe}", "row": name, "in_table": False}
    named |= {"recipe": own} if own else {}
    if isinstance(network, str):
        found = replace(EXPERIMENTS[f"{_like(network)}-{recipe}"], backbone=network, **named)
        if weights_of(found)[0] == models.RANDOM:
            raise ValueError(f"{network}: no pretrained weights here; expected a file in $IT_WEIGHTS, or a network")
        return found
    like = EXPERIMENTS[f"{_like(None)}-{recipe}"]
    found = OwnNetwork(**vars(like) | named | {"make_model": network, "dropout_applied": True})
    data = profile.training_data(found, dataset)
    model, _ = found.build(data, 0)
    with torch.no_grad():
        model.eval()(torch.zeros(2, 3, *data.images.shape[2:]))
    parts = [Path(__file__).read_text(encoding="utf-8"), *sources(network)]
    code = [_meaning(part) for part in parts] + [cache.weights_digest(model.state_dict())]
    return replace(found, code=hashlib.blake2b("\n".join(code).encode(), digest_size=8).hexdigest())


def _meaning(part):
    with contextlib.suppress(SyntaxError):  # a constant that is no literal is taken as it is shown
        return cache.meaning(part)
    return part


def reference(experiment):
    """The row of the results table that a row of one's own shares its recipe with."""
    return EXPERIMENTS[f"{_like(experiment.backbone)}-{'repaired' if experiment.repaired else 'published'}"]


def _like(backbone):
    """Name, but for the recipe, of the row whose recipe fits a backbone: a full timm tag, or None for any network."""
    if backbone is None:
        return LIKE_SHALLOW
    return LIKE_VIT if backbone.startswith(TRANSFORMERS) else LIKE_CNN


def sources(thing, found=None):
    """Sources of a function or class and, in turn, of those that it names beside it; plain constants as they are.

    Raises ValueError where there is none, as of a lambda among other arguments.
    """
    found = {} if found is None else found
    found[thing] = source_of(thing)
    names = {node.id for node in ast.walk(ast.parse(found[thing])) if isinstance(node, ast.Name)}
    beside = dict(vars(sys.modules[thing.__module__]))
    if inspect.isfunction(thing):
        beside = thing.__globals__ | inspect.getclosurevars(thing).nonlocals
    for name in sorted(names & beside.keys()):
        value = beside[name]
        if isinstance(value, bool | int | float | str | tuple):
            found[name] = repr((name, value))
        elif (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == thing.__module__:
            if value not in found:
                sources(value, found)
    return list(found.values())


def source_of(thing):
    """Source of a function or class, of a notebook's cell too, where Python finds classes only by their methods."""
    try:
        with contextlib.suppress(OSError):
            source = textwrap.dedent(inspect.getsource(thing))
            ast.parse(source)
            return source
        method = next(value for value in vars(thing).values() if inspect.isfunction(value))
        cell = "".join(inspect.findsource(method)[0])
        line = inspect.unwrap(method).__code__.co_firstlineno
        classes = (node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.ClassDef))
        return next(ast.get_source_segment(cell, node) for node in classes if node.lineno <= line <= node.end_lineno)
    except (OSError, TypeError, SyntaxError, StopIteration) as error:
        raise ValueError(f"{thing!r}: no source to read; expected a `def` or `class` in a file or cell") from error
