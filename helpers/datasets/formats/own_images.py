"""Images that a user brings, in arrays or in files, as `Split.images` has them."""

from pathlib import Path

import numpy as np
from PIL import Image

from helpers.datasets.formats.arrays import load_array
from helpers.datasets.formats.recordings import open_image
from helpers.datasets.hdf5 import DataError
from helpers.datasets.images import BEYOND, resized

LUMA = np.array([19595, 38470, 7471])  # of 65536: Pillow's weights of red, green and blue in gray


def read(images, *, pixels=None, shape=None, dtype=None):
    """Images of one shape, (n_images, 1 or 3, height, width): uint8 of 0 to 255, or float32 of 0 to 1.

    Parameters
    ----------
    images : uint8 array (n_images, height, width), the same with three channels, last or first, or such arrays of
        float32 from 0 to 1; a .npy or .npz file of one; an image file, a list of them, or a folder, whose images are
        taken in the order of their names
    pixels : at most so many on the longer side (antialiased); None for the first image's own
    shape, dtype : (n_channels, height, width) and number type that they are brought to, those of a model; None for
        their own. A single channel of color images is their luma.

    Raises DataError with the image's name and what was expected: one that cannot be read, or is of other proportions.
    """
    sources = _sources(images)
    if not sources:
        name = images if isinstance(images, str | Path) else "images"
        raise DataError(f"{name}: holds no images; expected one or more.")
    _, _, opened = sources[0]
    first, own = opened(), shape is None
    if own:
        scale = min(1, (pixels or np.inf) / max(first.shape[1:]))
        shape = first.shape[0], *(max(1, round(side * scale)) for side in first.shape[1:])
    found = np.empty((len(sources), *shape), dtype or first.dtype)
    for i, (label, _, opened) in enumerate(sources):
        found[i] = _brought(label, opened(), shape, found.dtype)
    gray = own and shape[0] == 3 and all((image == image[:1]).all() for image in found)
    return found[:, :1].copy() if gray else found


def names(images):
    """What each image is called in a table: its file's name, or its place in the array."""
    return [name for _, name, _ in _sources(images)]


def _sources(images):
    """Triples (name for sentences, name in a table, function that returns an array (1 or 3, height, width))."""
    images = [images] if isinstance(images, str | Path) else images
    if not (isinstance(images, list | tuple) and all(isinstance(image, str | Path) for image in images)):
        return _of_array("images", np.asarray(images))
    paths = [Path(image) for image in images]
    if len(paths) == 1:
        (path,) = paths
        suffix = path.suffix.lower()
        if not path.exists():
            raise DataError(f"{path}: no such file or folder; expected images.")
        if path.is_dir():
            known = Image.registered_extensions()
            paths = sorted(file for file in path.iterdir() if file.suffix.lower() in known)
        elif suffix in (".npy", ".npz"):
            if (array := load_array(path, "images" if suffix == ".npz" else None)) is None:
                raise DataError(f"{path}: has no array images; expected one.")
            return _of_array(path, array)
    return [(str(path), path.name, lambda path=path: _opened(path)) for path in paths]


def _of_array(name, given):
    whole = given.dtype == np.uint8 or (given.dtype == np.float32 and (not given.size or _is_share(given)))
    array = given.transpose(0, 3, 1, 2) if given.ndim == 4 and given.shape[-1] == 3 else given
    array = array[:, None] if array.ndim == 3 else array
    if not whole or array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape[1:]:
        found = f"is of {given.dtype} and shape {given.shape}"
        expected = "uint8 (n_images, height, width) or with 3 channels, or float32 from 0 to 1"
        raise DataError(f"{name}: {found}; expected {expected}.")
    return [(f"{name}, image {i}", str(i), lambda i=i: array[i]) for i in range(len(array))]


def _is_share(array):
    return bool(array.min() >= -BEYOND and array.max() <= 1 + BEYOND)


def _opened(path):
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected an image.")
    return open_image(str(path), lambda: path).transpose(2, 0, 1)


def _brought(label, image, shape, dtype):
    """An image in that shape and number type."""
    n_channels, *size = shape
    scale = max(size) / max(image.shape[1:])
    if any(abs(side * scale - wanted) > 1 for side, wanted in zip(image.shape[1:], size, strict=True)):
        (height, width), found = size, f"{image.shape[1]} x {image.shape[2]}"
        raise DataError(f"{label}: has {found} pixels; expected {height} x {width}, or others of that shape.")
    if n_channels == 1 and len(image) == 3:
        weighted = np.tensordot(LUMA, image, 1)  # equal channels keep their value, as the weights sum to 65536
        image = ((weighted + 2**15) // 2**16 if image.dtype == np.uint8 else weighted / 2**16).astype(image.dtype)[None]
    image = resized(image[None], np.arange(1), tuple(size))[0]
    if image.dtype == np.uint8 and dtype != np.uint8:
        return image / np.float32(255)
    return np.rint(image * np.float32(255)) if image.dtype != np.uint8 and dtype == np.uint8 else image
