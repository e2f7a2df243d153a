"""What a data file is written from, whatever form it came in."""

import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from helpers.datasets.hdf5 import DataError

_TURNS = dict(
    enumerate(
        ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"), 2
    )
)  # of EXIF's orientations


@dataclass
class Recordings:
    """What a data file is written from.

    Attributes
    ----------
    path : what sentences name
    images : list of pairs (name for sentences, function that returns a path, a file or a Pillow image)
    objects : str array of shape (n_images,)
    trials : float array of shape (n_images, n_repeats, n_neurons), NaN where one is missing
    neurons, metadata : dicts from name to array of shape (n_neurons,) or (n_images,)
    splits : dict from split to index of images, or None
    attributes : dict of what the file says of itself
    z_scored : whether the writer brings each neuron to mean 0 and sd 1 over the training images
    """

    path: Path
    images: list[tuple[str, Callable]]
    objects: np.ndarray
    trials: np.ndarray
    neurons: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, np.ndarray] = field(default_factory=dict)
    splits: dict[str, np.ndarray] | None = None
    attributes: dict = field(default_factory=dict)
    z_scored: bool = False


def gather(images, values):
    """Presentations (n_presentations, n_neurons) as trials (n_images, n_repeats, n_neurons), in their order.

    images : int array (n_presentations,), of the image shown.
    """
    order = np.argsort(images, kind="stable")
    counts = np.bincount(images)
    trial = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)
    trials = np.full((len(counts), counts.max(), values.shape[1]), np.nan, np.float32)
    trials[images[order], trial] = values[order]
    return trials


def from_folder(folder, names, source):
    """Images of a folder, as `Recordings.images` has them; a name is found whichever way its accents are written."""
    images = []
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: no such folder; expected the one of the images that {source} names.")
    for name in names:
        forms = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
        found = next((Path(folder) / form for form in forms if (Path(folder) / form).is_file()), None)
        if found is None:
            raise DataError(f"{source}: names the image {Path(folder) / name}, which is not there; expected a file.")
        images.append((str(found), lambda path=found: path))
    return images


def from_zip(path, names, source):
    """Images of a zip archive, read in place; a name may leave out the folders above it."""
    archive = open_zip(path)
    members = {PurePosixPath(member).name: member for member in archive.namelist()}
    members |= {member: member for member in archive.namelist()}
    if missing := [name for name in names if name not in members]:
        raise DataError(f"{source}: names the image {missing[0]}, which {path} lacks; expected it in there.")
    return [(f"{path}/{name}", lambda member=members[name]: archive.open(member)) for name in names]


def open_zip(path):
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected a zip archive of images.") from error


def open_image(label, source):
    """An image as a viewer shows it, uint8 (height, width, 3)."""
    try:
        image = source()
        image = image if isinstance(image, Image.Image) else Image.open(image)
        deep = any(";16" in str(tile) for tile in getattr(image, "tile", ()))
        image.load()
    except PermissionError as error:
        raise DataError(f"{label}: cannot be read (no permission); expected an image that you may read.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{label}: cannot be read as an image; expected a format that Pillow knows.") from error
    except Exception as error:  # decoders raise whatever they like
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(
            f"{label}: is damaged or cannot be read as an image ({reason}); expected a whole one."
        ) from error
    if getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{label}: has {image.n_frames} frames; expected a single image.")
    if deep or image.mode.startswith("I"):
        raise DataError(f"{label}: has 16 bits a channel; expected 8, scaled so that white is 255.")
    if image.mode not in ("1", "L", "P", "RGB") or "transparency" in image.info:
        raise DataError(f"{label}: has mode {image.mode}; expected 8-bit gray or RGB without transparency.")
    turn = _turn(image)
    image = image.transpose(Image.Transpose[turn]) if turn else image
    return np.asarray(image.convert("RGB"))


def _turn(image):
    """How the EXIF says to turn it; read by hand, as rewriting odd EXIF fails under some Pillows."""
    try:
        return _TURNS.get(image.getexif().get(0x0112))
    except Exception:  # EXIF that cannot be read says nothing
        return None
