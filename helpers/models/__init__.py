"""Networks and where their weights come from."""

import functools

from helpers.models import networks
from helpers.models.backbones import at_pixels, takes
from helpers.models.networks import Encoder, Inputs, ShallowCNN
from helpers.models.weights import RANDOM, find_weights, load_backbone, own_normalisation

build = functools.singledispatch(networks.build)  # by the kind of row: experiments/own.py adds the user's networks

__all__ = ["RANDOM", "Encoder", "Inputs", "ShallowCNN", "at_pixels", "build", "find_weights", "load_backbone"]
__all__ += ["own_normalisation", "takes"]
