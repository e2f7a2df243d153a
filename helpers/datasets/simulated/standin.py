"""The stand-in for the course file: rendered images and simulated responses in one HDF5 file of the same schema."""

import os
import time
from pathlib import Path

import h5py
import numpy as np

from helpers import progress
from helpers.datasets.hdf5 import SPLITS
from helpers.datasets.images import IMAGENET_MEAN, IMAGENET_SD
from helpers.datasets.simulated.neurons import RELIABILITY, simulate
from helpers.datasets.simulated.rendering import render

DESCRIPTION = (
    "Simulated responses. Rankings and label effects are built in by construction. "
    "Not comparable with published IT scores."
)
FIELD_UNITS = {
    "x": "centre as a share of the image's side, 0 left to 1 right",
    "y": "centre as a share of the image's side, 0 top to 1 bottom",
    "width": "standard deviation as a share of the image's side",
}
VERSION = 2  # of the simulation: files of other versions hold other neurons
QUICK, FULL = ((1296, 144, 160), 64), ((2592, 288, 320), 224)  # images in train, val and test; pixels a side


def write(
    path,
    *,
    full=False,
    seed=0,
    label_share=0.35,
    local_share=0.2,
    n_trials=28,
    repeats=None,
    n_images=None,
    pixels=None,
    n_objects=None,
    as_course=False,
):
    """Make a stand-in and write it, whole or not at all; the same settings give the same bytes.

    Images are gray uint8. Beside the responses stand the receptive fields of the neurons, and what is built in is said
    by the file's attributes.

    Parameters
    ----------
    path : str or Path
    full : bool
        The course file's shapes (2592 / 288 / 320 images of 224 pixels; minutes) rather than 1296 / 144 / 160 of 64.
    seed, label_share, local_share, n_trials
        As in simulate.
    repeats : bool, optional
        Whether single trials of the validation images are written as spikes_val_repeats; by default, unless full or
        as_course.
    n_images, pixels : three ints (train, val, test) and an int, optional
        Other sizes.
    n_objects : int, optional
        By default all 64, or fewer where an object would have less than 8 images.
    as_course : bool
        The course file's keys and float32 images alone, which notebooks written for it read.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If the shares or n_objects cannot be.
    OSError
        If the folder cannot be written; before anything is rendered.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:  # known before minutes of rendering
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror}); expected a folder that can.") from error
    counts, size = FULL if full else QUICK
    (n_train, n_val, n_test), size = n_images or counts, pixels or size
    total = n_train + n_val + n_test
    n_objects = n_objects or min(64, max(1, total // 8))
    scenes = render(total, size=size, n_objects=n_objects, seed=seed)
    simulated = simulate(
        scenes, n_train=n_train, label_share=label_share, local_share=local_share, n_trials=n_trials, seed=seed
    )
    ends = np.cumsum([0, n_train, n_val, n_test])
    try:
        with h5py.File(beside, "w") as file:
            file.attrs.update(description=DESCRIPTION, version=VERSION, seed=seed, n_trials=n_trials)
            file.attrs.update(label_share=label_share, local_share=local_share, reliability=RELIABILITY)
            for split, start, stop in zip(SPLITS, ends, ends[1:], strict=False):
                write_images(file, f"stimulus_{split}", scenes.pixels[start:stop], as_course=as_course)
                file[f"object_{split}"] = np.char.encode(scenes.objects[start:stop], "latin-1")
                if split != "test":
                    average = simulated.trials[start:stop].mean(1, dtype=float)
                    file[f"spikes_{split}"] = average.astype(np.float32)
            if not (full or as_course) if repeats is None else repeats:
                val = simulated.trials[n_train : n_train + n_val]
                file.create_dataset("spikes_val_repeats", data=val, compression="gzip")
            if not as_course:
                for name, values in zip(("x", "y", "width"), simulated.receptive_fields.T, strict=True):
                    file[f"receptive_field_{name}"] = values
                    file[f"receptive_field_{name}"].attrs["unit"] = FIELD_UNITS[name]
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def write_images(file, key, pixels, *, as_course):
    """Write images as uint8, or as the course file has them: three equal channels in ImageNet's normalisation."""
    n, height, width = pixels.shape
    chunk, began = min(16, n), time.monotonic()
    if not as_course:
        file.create_dataset(key, data=pixels, chunks=(chunk, height, width), compression="gzip")
        return
    levels = np.arange(256)[:, None] / 255
    table = ((levels - IMAGENET_MEAN) / IMAGENET_SD).T.astype(np.float32)  # (3, 256)
    stimulus = file.create_dataset(
        key, (n, 3, height, width), np.float32, chunks=(chunk, 3, height, width), compression="gzip"
    )
    for start in range(0, n, chunk):
        some = pixels[start : start + chunk]
        stimulus[start : start + chunk] = np.stack([channel[some] for channel in table], 1)
        progress.show(f"writing {key}", began, start + len(some), n)
