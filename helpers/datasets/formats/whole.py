"""A data file is written whole: checked and moved into place, or not at all."""

import io
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from helpers import progress
from helpers.datasets.dataset import read
from helpers.datasets.hdf5 import DataError, examine, opened, refused
from helpers.datasets.images import IMAGENET_MEAN, IMAGENET_SD, IMAGES_AT_ONCE, KNOWN


def must_be_new(target):
    """The target as a path, or a DataError where something is there."""
    if Path(target).exists():
        raise DataError(f"{target}: exists already and is left alone; expected a new file name.")
    return Path(target)


@contextmanager
def created(target):
    """Yield a new HDF5 file, in memory: HDF5 crashes a process in which it cannot write to a disk.

    On success it passes the checks and becomes `target`, which must be new. Raises DataError: at once where the folder
    cannot be written, later where the disk is full.
    """
    content = io.BytesIO()
    with written_checked(must_be_new(target)) as part:
        with h5py.File(content, "w") as file:
            yield file
        part.write_bytes(content.getbuffer())
        content.close()  # before the images are read for the checks


def declare(path, words):
    """Write into a data file by which constants its images were normalised; nothing else of it changes.

    words : name of known constants (images.KNOWN), or numbers as text: mean and sd, one each or three. Returns a
    sentence that says so. Raises DataError, and changes nothing, where they do not fit the images.
    """
    mean, sd = _constants(words)
    with opened(path) as file:
        images = examine(file)["stimulus_train"]
        if images.dtype == "uint8":
            raise refused(images, "holds uint8 pixels", "other numbers, as these need no constants")
    target = Path(path).resolve()
    content = io.BytesIO(target.read_bytes())
    with h5py.File(content, "r+") as file:
        file.attrs.update(image_mean=mean, image_sd=sd)
    with written_checked(target) as part:
        part.chmod(0o600)  # until it is whole
        part.write_bytes(content.getbuffer())
        content.close()
        shutil.copymode(target, part)
    return f"{path}: its images are declared to be (pixels - {mean}) / {sd}"


def _constants(words):
    """Mean and sd, three numbers each."""
    if len(words) == 1 and words[0] in KNOWN:
        constants, _ = KNOWN[words[0]]
        return constants.mean, constants.sd
    try:
        return np.broadcast_to(np.reshape(np.array(words, float), (2, -1)), (2, 3)).tolist()
    except ValueError as error:  # no numbers, or other than two or six
        expected = f"{', '.join(KNOWN)}, or mean and sd, one number each or three"
        raise DataError(f"{' '.join(words)}: no such constants; expected {expected}.") from error


@contextmanager
def written_checked(target):
    """Yield a path to write to; on success the file there passes the checks and takes the place of `target`."""
    from helpers import cache  # brings torch, which few commands on data files need

    try:
        with cache.written_whole(target) as part:
            yield part
            try:
                read(part)
            except DataError as error:
                raise DataError(str(error).replace(str(part), str(target))) from error
    except OSError as error:
        raise DataError(str(error)) from error


def write_images(file, key, images, shape, as_course, *, opened=np.asarray):
    """Write images as uint8, those of one channel as (n_images, height, width); or as the course's file has them.

    shape : (n_channels, height, width)
    opened : makes uint8 pixels (n_block, *shape) of a block of `images`
    """
    n_images, stored = len(images), (3, *shape[1:]) if as_course else shape[1:] if shape[0] == 1 else shape
    data = file.create_dataset(
        key, (n_images, *stored), "f4" if as_course else "u1", chunks=(min(16, n_images), *stored),
        compression="gzip", shuffle=as_course,
    )  # fmt: skip
    mean, sd = (np.reshape(constants, (3, 1, 1)) for constants in (IMAGENET_MEAN, IMAGENET_SD))
    began = time.monotonic()
    for start in range(0, n_images, IMAGES_AT_ONCE):
        x = opened(images[start : start + IMAGES_AT_ONCE])
        x = (x / 255 - mean) / sd if as_course else x
        data[start : start + len(x)] = x.reshape(len(x), *stored)
        progress.show(f"writing {key}", began, start + len(x), n_images)
