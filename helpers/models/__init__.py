"""Networks and where their weights come from."""

from helpers.models.backbones import at_pixels, takes
from helpers.models.networks import Encoder, Inputs, ShallowCNN, build
from helpers.models.weights import RANDOM, find_weights, load_backbone, own_normalisation

__all__ = ["RANDOM", "Encoder", "Inputs", "ShallowCNN", "at_pixels", "build", "find_weights", "load_backbone"]
__all__ += ["own_normalisation", "takes"]
