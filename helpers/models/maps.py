"""A layer's output as feature maps, whatever its family: channels first, without class tokens, on the images' grid."""

import numpy as np
from torch.nn.functional import adaptive_avg_pool2d


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


def to_grid(maps, grid):
    """Maps averaged to at most `grid` a side."""
    return adaptive_avg_pool2d(maps, [min(grid, side) for side in maps.shape[2:]]) if maps.ndim == 4 else maps
