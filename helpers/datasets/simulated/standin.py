"""The stand-in for the course file: rendered images and simulated responses in one HDF5 file of the same schema."""

import os
import time
from pathlib import Path

import h5py
import numpy as np

from helpers import progress
from helpers.datasets.images import IMAGENET_MEAN, IMAGENET_SD
from helpers.datasets.simulated.neurons import simulate
from helpers.datasets.simulated.rendering import render

DESCRIPTION = (
    "Simulated responses. Rankings and label effects are built in by construction. "
    "Not comparable with published IT scores."
)
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
):
    """Make a stand-in and write it, whole or not at all; the same settings give the same bytes.

    Parameters
    ----------
    path : str or Path
    full : bool
        The course file's shapes (2592 / 288 / 320 images of 224 pixels; minutes) rather than 1296 / 144 / 160 of 64.
    seed, label_share, local_share, n_trials
        As in simulate.
    repeats : bool, optional
        Whether single trials of the validation images are written as spikes_val_repeats; by default, if not full.
    n_images, pixels : three ints (train, val, test) and an int, optional
        Other sizes.
    n_objects : int, optional
        By default all 64, or fewer where an object would have less than 8 images.

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
    rows = {"train": slice(0, n_train), "val": slice(n_train, n_train + n_val), "test": slice(n_train + n_val, total)}
    try:
        with h5py.File(beside, "w") as file:
            file.attrs["description"] = DESCRIPTION
            file.attrs.update(seed=seed, label_share=label_share, local_share=local_share, n_trials=n_trials)
            for split, some in rows.items():
                write_images(file, f"stimulus_{split}", scenes.pixels[some])
                file[f"object_{split}"] = np.char.encode(scenes.objects[some], "latin-1")
                if split != "test":
                    file[f"spikes_{split}"] = simulated.trials[some].mean(1, dtype=float).astype(np.float32)
            if not full if repeats is None else repeats:
                file.create_dataset("spikes_val_repeats", data=simulated.trials[rows["val"]], compression="gzip")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def write_images(file, key, pixels):
    """Write uint8 images as the course file has them: three equal channels, normalised with ImageNet's constants."""
    n, height, width = pixels.shape
    levels = np.arange(256)[:, None] / 255
    table = ((levels - IMAGENET_MEAN) / IMAGENET_SD).T.astype(np.float32)  # (3, 256)
    chunk, began = 16, time.monotonic()
    stimulus = file.create_dataset(
        key, (n, 3, height, width), np.float32, chunks=(min(chunk, n), 3, height, width), compression="gzip"
    )
    for start in range(0, n, chunk):
        some = pixels[start : start + chunk]
        stimulus[start : start + chunk] = np.stack([channel[some] for channel in table], 1)
        progress.show(f"writing {key}", began, start + len(some), n)
