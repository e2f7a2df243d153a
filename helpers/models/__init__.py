"""Networks and where their weights come from."""

from helpers.models.backbones import at_pixels, takes
from helpers.models.networks import Encoder, Inputs, ShallowCNN
from helpers.models.weights import RANDOM, find_weights, load_backbone, own_normalisation
