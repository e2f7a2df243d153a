"""Images: from the file's normalised units to pixels, checked on the way, and from pixels to a network's input.

Reading and checking need no torch; only what makes tensors imports it.
"""

import functools
from dataclasses import dataclass

import numpy as np

from helpers.datasets.hdf5 import SPLITS, failure

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
EXACT = 1e-4  # largest error of a stored image, in the file's normalised units
IMAGES_AT_ONCE = 64  # converted together, so that float32 copies stay small

_MEAN = np.array(IMAGENET_MEAN, np.float32)[:, None, None]
_SD = np.array(IMAGENET_SD, np.float32)[:, None, None]


@dataclass(frozen=True)
class Normalisation:
    """Network input from pixels of 0 to 1: (x - mean) / sd, three channels."""

    mean: tuple[float, float, float]
    sd: tuple[float, float, float]

    def twice(self):
        """The same normalisation applied to its own result, as published code did to the file's images."""
        mean = tuple(m + m * s for m, s in zip(self.mean, self.sd, strict=True))
        return Normalisation(mean, tuple(s * s for s in self.sd))


IMAGENET = Normalisation(IMAGENET_MEAN, IMAGENET_SD)


class Scale:
    """Range of a split's images in the file's units, to tell normalised images from raw and twice normalised ones."""

    def __init__(self, data):
        self.path, self.key = data.file.filename, data.name.lstrip("/")
        self.low, self.high = np.full(3, np.inf), np.full(3, -np.inf)
        self.gray_in_pixels = self.gray_in_file = True

    def update(self, x):
        """Take in images x (n_images, 3, height, width); what no pixel can give is refused at once."""
        self.low = np.minimum(self.low, x.min(axis=(0, 2, 3)))
        self.high = np.maximum(self.high, x.max(axis=(0, 2, 3)))
        if self.gray_in_file:
            self.gray_in_file = all(np.abs(x[:, 0] - x[:, other]).max() <= EXACT for other in (1, 2))
        if self.gray_in_pixels:
            self.gray_in_pixels = encode(x, 1, np.float32) is not None
        if self.high.max() > 10:  # images normalised twice end at 9.9
            self._refuse("raw pixels of 0 to 255")
        if not self._within_unit(times=1):
            contrast = np.ptp(self._undone(times=2), axis=0).max()  # other scales fill little of the range
            twice = self._within_unit(times=2) and contrast > 0.5
            self._refuse("images normalised twice" if twice else "images of an unknown scale")

    def finish(self):
        """Refuse what only a whole split shows."""
        if self.low.min() >= 0 and self.high.max() <= 1 and not self.gray_in_pixels:
            self._refuse("raw pixels of 0 to 1")
        if np.allclose([self.low, self.high], [[-1], [1]], atol=0.02):
            self._refuse("pixels of -1 to 1")
        if self.gray_in_file:
            self._refuse("gray images with three equal channels, normalised with other constants")

    def _undone(self, times):
        ends = np.stack([self.low, self.high])
        for _ in range(times):
            ends = ends * IMAGENET_SD + IMAGENET_MEAN
        return ends

    def _within_unit(self, times):
        ends = self._undone(times)
        return ends.min() >= -1e-3 and ends.max() <= 1 + 1e-3

    def _refuse(self, what):
        found = f"holds {what} (values from {self.low.min():.3g} to {self.high.max():.3g})"
        expected = "images normalised once with the ImageNet mean and sd, about -2.12 to 2.64"
        raise failure(self.path, self.key, found, expected)


def to_pixels(x):
    """Pixels of 0 to 1 from normalised images x (n_images, n_channels, height, width)."""
    return x * _SD[: x.shape[1]] + _MEAN[: x.shape[1]]


def encode(x, n_channels, dtype):
    """Normalised images as pixels of that type, or None where the way back would miss x by more than 1e-4.

    Parameters
    ----------
    x : float32 array of shape (n_images, 3, height, width), in ImageNet-normalised units
    n_channels : 1 (all three channels from the first) or 3
    dtype : np.uint8 (0 to 255) or np.float32 (0 to 1)
    """
    pixels = to_pixels(x[:, :n_channels])
    if dtype == np.uint8:
        pixels = np.rint(pixels * 255).clip(0, 255).astype(np.uint8)
    for channel in range(3):
        back = decode(pixels[:, min(channel, n_channels - 1)], channel)
        back -= x[:, channel]
        if max(back.max(), -back.min()) > EXACT:
            return None
    return pixels


def decode(pixels, channel):
    """One channel of pixels (uint8 of 0 to 255, or float32 of 0 to 1) in the file's normalised units."""
    mean, sd = np.float32(IMAGENET_MEAN[channel]), np.float32(IMAGENET_SD[channel])
    if pixels.dtype == np.uint8:
        return ((np.arange(256, dtype=np.float32) / 255 - mean) / sd)[pixels]
    return (pixels - mean) / sd


def blocks(data):
    """Where to start and stop reading images: about IMAGES_AT_ONCE, in whole HDF5 chunks (unpacked once each)."""
    depth = data.chunks[0] if data.chunks else 1
    step = depth * max(1, IMAGES_AT_ONCE // depth) if depth <= 4 * IMAGES_AT_ONCE else IMAGES_AT_ONCE
    return [(start, min(start + step, len(data))) for start in range(0, len(data), step)]


def read_block(data, start, stop):
    """Images as the file has them, float32 of shape (stop - start, 3, height, width), finite."""
    if data.ndim == 3:  # gray uint8
        pixels = data[start:stop]
        return np.stack([decode(pixels, channel) for channel in range(3)], 1)
    x = data[start:stop].astype(np.float32, copy=False)
    if not np.isfinite(x.sum(dtype=np.float64)):
        image = start + int(np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3)))[0])
        found = f"holds NaN or infinity, first in image {image}"
        raise failure(data.file.filename, data.name.lstrip("/"), found, "finite numbers")
    return x


def read_images(arrays):
    """All images, train then val then test, kept once and as small as is exact to 1e-4.

    Starts as one channel of uint8; where images do not fit, the reading starts over with wider pixels, so that two
    copies never lie in memory.

    Returns
    -------
    images : array of shape (n_images, n_channels, height, width)
        uint8 of 0 to 255 or float32 of 0 to 1; n_channels is 1 for gray images, else 3.
    """
    stimuli = [arrays[f"stimulus_{split}"] for split in SPLITS]
    n_channels, dtype = 1, np.uint8
    while True:
        images, misfits = _read_as(stimuli, n_channels, dtype)
        if misfits is None:
            return images
        kinds = [(1, np.uint8), (3, np.uint8), (1, np.float32), (3, np.float32)]
        fits = next(kind for kind in kinds if encode(misfits, *kind) is not None)
        n_channels, dtype = max(n_channels, fits[0]), np.promote_types(dtype, fits[1]).type


def _read_as(stimuli, n_channels, dtype):
    """(images, None), or (None, the first images that do not fit)."""
    images = np.empty((sum(map(len, stimuli)), n_channels, *stimuli[0].shape[-2:]), dtype)
    done = 0
    for data in stimuli:
        scale = Scale(data)
        for start, stop in blocks(data):
            x = read_block(data, start, stop)
            pixels = encode(x, n_channels, dtype)
            if dtype == np.float32 or pixels is None:  # images that are exact as uint8 need no further proof
                scale.update(x)
            if pixels is None:
                return None, x
            images[done : done + len(x)] = pixels
            done += len(x)
        if dtype == np.float32:
            scale.finish()
    return images, None


def resized(images, chosen, size):
    """images[chosen] at that size (height, width), in the same type, a few images at a time."""
    import torch

    if size == images.shape[2:]:
        return images[chosen]
    resized = np.empty((len(chosen), images.shape[1], *size), images.dtype)
    for start in range(0, len(chosen), IMAGES_AT_ONCE):
        block = torch.from_numpy(images[chosen[start : start + IMAGES_AT_ONCE]]).float()
        block = torch.nn.functional.interpolate(block, size, mode="bilinear", antialias=True, align_corners=False)
        if images.dtype == np.uint8:
            block = block.round().clamp(0, 255)
        resized[start : start + len(block)] = block.numpy().astype(images.dtype)
    return resized


def training_statistics(dataset):
    """Normalisation by the mean and sd of each channel over the training images' pixels, summed in float64."""
    images = dataset.train.images
    scale = 255 if images.dtype == np.uint8 else 1
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64)
    squares = np.zeros_like(mean)
    for start in range(0, len(images), IMAGES_AT_ONCE):  # the deviations of all images would not fit in memory
        deviations = images[start : start + IMAGES_AT_ONCE] - mean[:, None, None]
        squares += (deviations**2).sum(axis=(0, 2, 3))
    sd = np.sqrt(squares / (images.size / len(mean)))
    three = np.broadcast_to(np.stack([mean, sd], axis=1) / scale, (3, 2))
    return Normalisation(tuple(three[:, 0].tolist()), tuple(three[:, 1].tolist()))


def to_batch(images, normalisation, *, translation=0):
    """Network input from resident images: three channels, normalised, and shifted at random where asked.

    Parameters
    ----------
    images : torch tensor of shape (n_images, 1 or 3, height, width), on any device
        uint8 of 0 to 255, or float32 of 0 to 1.
    normalisation : Normalisation
    translation : int
        Each image moves by up to so many pixels in both directions, drawn on its device by torch's default generator;
        its edge pixels fill the gap.

    Returns
    -------
    batch : float32 tensor of shape (n_images, 3, height, width), on the images' device
    """
    import torch

    n_images, n_channels, height, width = images.shape
    if translation:
        rows, columns = torch.randint(-translation, translation + 1, (2, n_images, 1), device=images.device)
        rows = (torch.arange(height, device=images.device) - rows).clamp(0, height - 1)  # (n_images, height)
        columns = (torch.arange(width, device=images.device) - columns).clamp(0, width - 1)  # (n_images, width)
        source = (rows[:, :, None] * width + columns[:, None, :]).view(n_images, 1, -1)
        images = images.flatten(2).gather(2, source.expand(-1, n_channels, -1)).view(images.shape)
    offset, gain = _resident_constants(normalisation, images.dtype == torch.uint8, images.device)
    return torch.addcmul(offset, images.float(), gain)


@functools.lru_cache(maxsize=16)
def _resident_constants(normalisation, of_bytes, device):
    """What normalising adds and multiplies by, (1, 3, 1, 1) each, on the device: copied once, not at each step."""
    import torch

    mean, sd = (torch.tensor(c, dtype=torch.float64).view(1, 3, 1, 1) for c in (normalisation.mean, normalisation.sd))
    return (-mean / sd).float().to(device), (1 / ((255 if of_bytes else 1) * sd)).float().to(device)
