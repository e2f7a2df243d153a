"""Images: from the file's units to pixels, by evidence for how they are stored, and to network inputs (torch there)."""

import functools
from dataclasses import dataclass

import numpy as np

from helpers.datasets.hdf5 import SPLITS, declared_constants, refused

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
EXACT = 2e-5  # largest error of a stored pixel of 0 to 1
BEYOND = 0.02  # of the range of pixels: interpolation overshoots
IMAGES_AT_ONCE = 64  # converted together, so that float32 copies stay small
SAMPLE = 16  # images of a split that its normalisation is told from
NARROW = 0.01  # of the range: a sample's pixels that span less are not what they were taken as


@dataclass(frozen=True)
class Normalisation:
    """Network input from pixels of 0 to 1: (x - mean) / sd, three channels."""

    mean: tuple[float, float, float]
    sd: tuple[float, float, float]

    def twice(self):
        """The same normalisation applied to its own result, as published code did to the file's images."""
        mean = tuple(m + m * s for m, s in zip(self.mean, self.sd, strict=True))
        return Normalisation(mean, tuple(s * s for s in self.sd))

    def undo(self, x):
        """Pixels of 0 to 1 from x (n_images, 1 or 3, height, width): x * sd + mean, in float32."""
        pixels = np.empty(x.shape, np.float32)
        for channel in range(x.shape[1]):  # in place, channel by channel: faster by far than broadcasting
            np.multiply(x[:, channel], np.float32(self.sd[channel]), out=pixels[:, channel])
            pixels[:, channel] += np.float32(self.mean[channel])
        return pixels


IMAGENET = Normalisation(IMAGENET_MEAN, IMAGENET_SD)
CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
KNOWN = {  # name: (constants, what the images then are)
    "imagenet": (IMAGENET, "normalised once with ImageNet's mean and sd"),
    "clip": (CLIP, "normalised once with CLIP's mean and sd"),
    "half": (Normalisation((0.5,) * 3, (0.5,) * 3), "pixels scaled to -1 to 1"),
    "none": (Normalisation((0.0,) * 3, (1.0,) * 3), "pixels of 0 to 1"),
    "bytes": (Normalisation((0.0,) * 3, (1 / 255,) * 3), "pixels of 0 to 255"),
    "twice": (IMAGENET.twice(), "normalised twice with ImageNet's mean and sd"),
}


@dataclass(frozen=True)
class Encoding:
    """How a file's images are stored, and the words for it; the normalisation is None for uint8 pixels."""

    normalisation: Normalisation | None
    words: str
    declared: bool = False

    def pixels(self, data, x):
        """Pixels of 0 to 1 from a block x of `data`; a block that speaks against this encoding is refused."""
        if self.normalisation is None:
            return x.astype(np.float32) / 255
        pixels = self.normalisation.undo(x)
        low, high = pixels.min(), pixels.max()
        if low < -BEYOND or high > 1 + BEYOND:
            found = f"holds pixels of {low:.3g} to {high:.3g}, taken as {self.words}"
            raise refused(data, found, "0 to 1, at most 2 % beyond")
        if not (self.declared or evident(self.normalisation, pixels[:SAMPLE])):
            raise _untold(data, x)
        return pixels


def evident(normalisation, pixels):
    """Whether most images, brought back to pixels, show that these were the right constants.

    That is, are within 0 to 1 and in whole 255ths (99 % of the pixels), or gray though the channels' constants differ.
    """
    flat = pixels.reshape(len(pixels), -1)
    levels = flat * 255
    shows = (np.abs(levels - np.rint(levels)) < 0.1).mean(axis=1) > 0.99
    if pixels.shape[1] == 3 and len(set(normalisation.mean)) > 1:
        shows |= (np.abs(pixels - pixels[:, :1]) < 1e-3).all(axis=(1, 2, 3))
    shows &= (flat.min(axis=1) >= -BEYOND) & (flat.max(axis=1) <= 1 + BEYOND)
    return 2 * shows.sum() > len(pixels)


def encoding(arrays):
    """How the images of all splits are stored: told from a sample of each, or as the file declares."""
    stimuli = [arrays[f"stimulus_{split}"] for split in SPLITS]
    declared = (constants := declared_constants(stimuli[0].file)) and Normalisation(*constants)
    first, *others = [_encoding(data, declared) for data in stimuli]
    for data, other in zip(stimuli[1:], others, strict=True):
        if other != first:
            raise refused(data, f"holds {other.words}", f"{first.words}, as in stimulus_train")
    return first


def _encoding(data, declared):
    x = read_block(data, 0, min(SAMPLE, len(data)))
    if data.dtype == np.uint8 or declared:
        found = Encoding(None, "uint8 pixels")
        if data.dtype != np.uint8:
            found = Encoding(declared, "normalised with the constants that the file declares", declared=True)
        if np.ptp(found.pixels(data, x)) < NARROW:
            values = f"holds values of {x.min():.3g} to {x.max():.3g}, taken as {found.words}"
            raise refused(data, f"{values}, which are next to one gray", "pixels that differ")
        return found
    for normalisation, words in KNOWN.values():
        if evident(normalisation, normalisation.undo(x)):
            if normalisation == KNOWN["twice"][0]:
                raise refused(data, f"holds images {words}", "once")
            return Encoding(normalisation, words)
    raise _untold(data, x)


def _untold(data, x):
    found = f"holds images whose normalisation cannot be told (values from {x.min():.3g} to {x.max():.3g})"
    return refused(data, found, "whole 255ths or gray with known constants, or `data declare FILE imagenet`")


def encode(x, normalisation, n_channels, dtype):
    """Images x of the file (n_images, 1 or 3, height, width) as pixels: uint8 of 0 to 255, or float32 of 0 to 1.

    None where these would miss the file's by more than 2e-5 of the range. n_channels is 1 (for three equal ones) or 3;
    the normalisation is None where x holds uint8 pixels.
    """
    pixels = normalisation.undo(x) if normalisation else x
    if n_channels == 1 and pixels.shape[1] == 3:
        if any(_apart(pixels[:, channel], pixels[:, 0]) > EXACT for channel in (1, 2)):
            return None
        pixels = pixels[:, :1]
    if normalisation is None or dtype == np.float32:
        return pixels
    levels = np.rint(pixels * 255).clip(0, 255)
    return levels.astype(np.uint8) if _apart(levels / 255, pixels) <= EXACT else None


def _apart(first, second):
    difference = np.subtract(first, second, dtype=np.float32)
    return max(difference.max(), -difference.min())


def blocks(data):
    """Where to start and stop reading images: about IMAGES_AT_ONCE, in whole HDF5 chunks (unpacked once each)."""
    depth = data.chunks[0] if data.chunks else 1
    step = depth * max(1, IMAGES_AT_ONCE // depth) if depth <= 4 * IMAGES_AT_ONCE else IMAGES_AT_ONCE
    return [(start, min(start + step, len(data))) for start in range(0, len(data), step)]


def read_block(data, start, stop):
    """Images as the file has them, (stop - start, 1 or 3, height, width): uint8, or finite float32."""
    x = data[start:stop]
    x = x[:, None] if x.ndim == 3 else x
    x = x if x.dtype == np.uint8 else x.astype(np.float32, copy=False)
    if not np.isfinite(x.sum(dtype=np.float64)):
        image = start + int(np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3)))[0])
        raise refused(data, f"holds NaN or infinity, first in image {image}", "finite numbers")
    return x


def read_images(arrays):
    """All images, train then val then test, as `Split.images` has them.

    Starts as one channel of uint8; where images do not fit, the reading starts over with wider pixels, so that two
    copies never lie in memory.
    """
    stimuli = [arrays[f"stimulus_{split}"] for split in SPLITS]
    found, n_channels, dtype = encoding(arrays), 1, np.uint8
    while True:
        images, misfits = _read_as(stimuli, found, n_channels, dtype)
        if misfits is None:
            return images
        kinds = [(1, np.uint8), (3, np.uint8), (1, np.float32), (3, np.float32)]
        fits = next(kind for kind in kinds if encode(misfits, found.normalisation, *kind) is not None)
        n_channels, dtype = max(n_channels, fits[0]), np.promote_types(dtype, fits[1]).type


def _read_as(stimuli, found, n_channels, dtype):
    """(images, None), or (None, the first images that do not fit)."""
    images = np.empty((sum(map(len, stimuli)), n_channels, *stimuli[0].shape[-2:]), dtype)
    done = 0
    for data in stimuli:
        for start, stop in blocks(data):
            x = read_block(data, start, stop)
            pixels = encode(x, found.normalisation, n_channels, dtype)
            if pixels is None:
                return None, x
            if dtype == np.float32:  # images that are exact as uint8 need no further proof
                found.pixels(data, x)
            images[done : done + len(x)] = pixels
            done += len(x)
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
