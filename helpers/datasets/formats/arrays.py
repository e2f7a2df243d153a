"""Recordings from arrays: a .npz file, or a .npy file of each."""

import zipfile

import numpy as np
from PIL import Image

from helpers.datasets.formats.recordings import Recordings
from helpers.datasets.hdf5 import DataError


def read_arrays(files):
    """Recordings from arrays: the keys images, responses and (optional) objects of a .npz, or a .npy file of each.

    images are uint8 (n_images, height, width), or with three channels, first or last; responses are (n_images,
    n_neurons) or (n_images, n_repeats, n_neurons), NaN for a trial that was not run.
    """
    keys, together = ("images", "responses", "objects"), len(files) == 1
    files = files * 3 if together else files
    found = [load_array(file, key if together else None) for file, key in zip(files, keys, strict=False)]
    images, responses, objects, *_ = [*found, None]
    if images is None or responses is None:
        missing = "images" if images is None else "responses"
        raise DataError(f"{files[0]}: has no array {missing}; expected images and responses (and objects).")
    n_images, of_images = len(images), f"{images.dtype} and shape {images.shape}"
    if images.ndim == 4 and images.shape[1] == 3:
        images = images.transpose(0, 2, 3, 1)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)):
        expected = "uint8, (n_images, height, width) or with 3 channels"
        raise DataError(f"{files[0]}: holds images of {of_images}; expected {expected}.")
    if responses.dtype.kind not in "fiu" or responses.ndim not in (2, 3) or len(responses) != n_images:
        found = f"holds responses of {responses.dtype} and shape {responses.shape}"
        expected = f"({n_images}, n_neurons) or ({n_images}, n_repeats, n_neurons)"
        raise DataError(f"{files[1]}: {found}; expected {expected}.")
    objects = np.full(n_images, "unknown") if objects is None else objects.astype(str)
    if objects.shape != (n_images,):
        raise DataError(f"{files[-1]}: holds objects of shape {objects.shape}; expected ({n_images},).")
    trials = responses.astype(np.float32).reshape(n_images, -1, responses.shape[-1])
    pictures = [(f"{files[0]}: image {i}", lambda i=i: Image.fromarray(images[i])) for i in range(n_images)]
    return Recordings(files[0], pictures, objects, trials)


def load_array(path, key=None):
    """The array of a .npy file, or of that key of a .npz file, None where it has none."""
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if key is None else loaded[key] if key in loaded else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        cause = "is pickled" if "pickle" in str(error).lower() else f"cannot be read ({error})"
        raise DataError(f"{path}: {cause}; expected plain arrays as numpy.save writes them.") from error
