"""Networks: the course's shallow CNN, and timm backbones with a neuron head and, for two objectives, an object head."""

import enum

import torch
from torch import nn

from helpers.datasets.images import IMAGENET, training_statistics
from helpers.models.backbones import at_pixels, spread
from helpers.models.weights import RANDOM, load_backbone, own_normalisation


class Inputs(enum.Enum):
    """How pixels are normalised before the network sees them."""

    ONCE = "ImageNet, once"
    TWICE = "ImageNet, twice"
    TRAINING = "training images' statistics"
    OWN = "the network's own"

    def normalisation(self, dataset, backbone):
        if self is Inputs.TRAINING:
            return training_statistics(dataset)
        if self is Inputs.OWN:
            return own_normalisation(backbone)
        return IMAGENET.twice() if self is Inputs.TWICE else IMAGENET


class ShallowCNN(nn.Module):
    """The course's CNN: 3x3 convolutions, each with ReLU and 2x2 max pooling, then a hidden layer and a linear readout.

    Parameters
    ----------
    pixels : (height, width) of the images; any size that survives the poolings.
    n_neurons : int
    channels : output channels of the convolutions; (16, 32) is the course's, (16, 32, 64) its deeper variant.
    dropout : probability of dropping a hidden unit.
    dropout_applied : the published notebooks declared a dropout layer and never called it; False repeats that.
    """

    def __init__(self, pixels, n_neurons, *, channels=(16, 32), dropout=0.5, dropout_applied=True):
        super().__init__()
        layers, n_in = [], 3
        for n_out in channels:
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            n_in = n_out
        height, width = (side // 2 ** len(channels) for side in pixels)
        if min(height, width) < 1:
            raise ValueError(f"images of {pixels} pixels vanish in {len(channels)} poolings")
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(n_in * height * width, 128)
        self.dropout = nn.Dropout(dropout)
        self.dropout_applied = dropout_applied
        self.neuron_head = nn.Linear(128, n_neurons)

    def forward(self, images):  # (b, 3, h, w) -> (b, n_neurons), no object logits
        hidden = self.hidden(self.convolutions(images).flatten(1)).relu()
        if self.dropout_applied:
            hidden = self.dropout(hidden)
        return self.neuron_head(hidden), None


class Features(nn.Module):
    """What heads read of a timm backbone.

    Parameters
    ----------
    backbone : timm network without classifier
    pixels : (height, width) of the images; brought to the backbone's `input_pixels`, if it has them (backbones.create)
    stages : None reads the backbone's pooled output; numbers read the feature maps of these stages (indices of timm's
        `forward_intermediates`), each averaged to a `grid` by `grid` map, and cut the backbone after the last; one
        number reads so many stages, see backbones.spread.

    Attributes
    ----------
    widths : numbers of features, one a stage
    """

    def __init__(self, backbone, pixels, *, stages=None, grid=7):
        super().__init__()
        if isinstance(stages, int):
            stages = spread(backbone, stages)
        self.backbone, self.stages, self.grid = backbone, stages, grid
        self.pixels = getattr(backbone, "input_pixels", pixels)
        if stages is not None:
            backbone.prune_intermediate_layers(indices=list(stages), prune_norm=True, prune_head=True)
        backbone.eval()
        with torch.no_grad():
            self.widths = [part.shape[1] for part in self.parts(torch.zeros(1, 3, *pixels))]
        backbone.train()

    def parts(self, images):  # (b, 3, h, w) -> list of (b, n_features), one a stage
        images = at_pixels(images, self.pixels)
        if self.stages is None:
            return [self.backbone(images)]
        maps = self.backbone.forward_intermediates(images, indices=list(self.stages), intermediates_only=True)
        sides = [[min(self.grid, side) for side in stage.shape[-2:]] for stage in maps]
        pooled = (nn.functional.adaptive_avg_pool2d(stage, side) for stage, side in zip(maps, sides, strict=True))
        return [stage.flatten(1) for stage in pooled]

    def forward(self, images):  # (b, 3, h, w) -> (b, n_features)
        return torch.cat(self.parts(images), 1)


class Encoder(nn.Module):
    """A timm backbone's features with a linear neuron head and, for two objectives, a linear object head.

    n_neurons, n_objects : sizes of the heads; no object head for `n_objects=0`. The others are those of Features.
    """

    def __init__(self, backbone, pixels, n_neurons, n_objects=0, *, stages=None, grid=7):
        super().__init__()
        self.features = Features(backbone, pixels, stages=stages, grid=grid)
        n_features = sum(self.features.widths)
        self.neuron_head = nn.Linear(n_features, n_neurons)
        self.object_head = nn.Linear(n_features, n_objects) if n_objects else None

    @property
    def backbone(self):
        return self.features.backbone

    def forward(self, images):  # -> (b, n_neurons), (b, n_objects) or None
        features = self.features(images)
        with torch.autocast(features.device.type, enabled=False):  # weights by ridge are too small for float16
            features = features.float()
            return self.neuron_head(features), self.object_head(features) if self.object_head is not None else None


def build(experiment, dataset, seed):
    """The untrained model of a row, an Experiment, for a data set, and where its weights came from."""
    pixels = dataset.images.shape[2:]
    torch.manual_seed(seed)
    if experiment.backbone is None:
        dropout = {"dropout": experiment.dropout, "dropout_applied": experiment.dropout_applied}
        return ShallowCNN(pixels, dataset.n_neurons, channels=experiment.channels, **dropout), RANDOM
    backbone, source = load_backbone(experiment.backbone, pixels, pretrained=experiment.pretrained, seed=seed)
    n_objects = len(dataset.object_names) if experiment.label_weight is not None else 0
    return Encoder(backbone, pixels, dataset.n_neurons, n_objects, stages=experiment.stages), source
