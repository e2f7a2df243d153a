"""Which layers of a timm network are read, and their outputs as feature maps."""

import re

import numpy as np
import torch

# What blocks, which timm does not list, are called in its families: ResNet and its stem, EfficientNet, ViT, DenseNet,
# PNASNet, ConvNeXt and Swin, RegNet.
BLOCKS = re.compile(
    r"act1|layer\d\.\d+|blocks\.\d+\.\d+|blocks\.\d+|features\.denseblock\d+|cell_(stem_)?\d+"
    r"|(stages|layers)\.\d+\.blocks\.\d+|s\d\.b\d+"
)
# Networks whose blocks put channels or places in an order of their own, or return two branches: by timm's stages.
OWN_ORDER = {"CrossVit", "GlobalContextVit", "Hiera", "SwinTransformerV2Cr", "TNT", "TinyVit", "VisionTransformerSAM"}


def default_layers(network):
    """Names of every block of a timm network, in order.

    Where blocks have names that are not known here, or are no maps: "stage.0" and so on, the stages that timm's
    `forward_intermediates` returns. Raises ValueError for a network that has neither.
    """
    modules = [name for name, _ in network.named_modules()]
    names = [name for name in modules if BLOCKS.fullmatch(name)]
    names = [name for name in names if not any(other.startswith(name + ".") for other in names)]
    stages = [stage["module"] for stage in getattr(network, "feature_info", [])]
    before_last = modules.index(stages[-2]) if len(stages) > 1 and stages[-2] in modules else 0
    reach_the_end = names and modules.index(names[-1]) >= before_last
    if not reach_the_end or type(network).__name__ in OWN_ORDER:
        names = [f"stage.{i}" for i in range(len(stages))]
    if not names:
        raise ValueError(f"no default layers for {type(network).__name__}: name its modules")
    return names


def to_maps(output, network, pixels):
    """Feature maps (b, c, h, w) from these, channels last, or tokens of images of `pixels`; others as they are."""
    if isinstance(output, tuple | list):  # a map and its size, or maps of several branches
        output = output[0]
    if output.ndim == 3:  # tokens (b, n, c): the class token and its like have no place on the grid
        for n_prefix in (getattr(network, "num_prefix_tokens", 0), 0, 1):
            if sides := _sides(output.shape[1] - n_prefix, pixels):
                return output[:, n_prefix:].transpose(1, 2).unflatten(2, sides)
    if output.ndim == 4 and getattr(network, "output_fmt", "NCHW") == "NHWC":
        return output.permute(0, 3, 1, 2)
    return output


def _sides(n_places, pixels):
    """(height, width) of a grid of so many places on images of `pixels`, or None if there is none of their shape."""
    height, width = pixels
    grids = [(n, n_places // n) for n in range(1, n_places + 1) if n_places % n == 0]
    for rows, columns in sorted(grids, key=lambda grid: abs(np.log(grid[0] / grid[1] * width / height))):
        # one step of places that gives so many rows and so many columns, rounded up or down
        least = max(height / (rows + 1), width / (columns + 1))
        most = min(height / max(rows - 1, 1e-9), width / max(columns - 1, 1e-9))
        return (rows, columns) if least < most else None


def rectified_layers(network):
    """Names of the rectified features inside each block, after the depthwise convolution's batch norm; else the block.

    Names of blocks are those of `default_layers`.
    """
    modules = dict(network.named_modules())
    found = []
    for block in default_layers(network):
        names = [name for name, _ in modules[block].named_children()] if block in modules else []
        inside = f"{block}.{names[names.index('conv_dw') + 1]}" if "conv_dw" in names else block
        found.append(inside if isinstance(modules.get(inside), torch.nn.BatchNorm2d) else block)
    return found
