"""Write recordings as a data file: whole, checked and moved into place, or not at all; no file is overwritten."""

import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np

from helpers import progress
from helpers.datasets.describe import FEW
from helpers.datasets.formats import arrays, brainio, tables
from helpers.datasets.formats.recordings import open_image
from helpers.datasets.formats.whole import created, must_be_new, write_images
from helpers.datasets.hdf5 import DataError, mean_over_trials, plural
from helpers.datasets.images import IMAGES_AT_ONCE, resized


def pack(inputs, out, *, neurons=None, where=None, seed=0, pixels=None):
    """Write own recordings, in any form that is known, as a data file.

    Parameters
    ----------
    inputs : list of str or Path
        A folder of images that Pillow reads, without transparency, and a CSV table, see below; or a .npz file, or .npy
        files of images, responses and, optionally, objects; or a BrainIO assembly (.nc), its table of stimuli (.csv)
        and a zip archive or folder of their images.
    out : str or Path
        Must not exist.
    neurons : list of str, optional
        A table's columns of neurons, or patterns of them; without it columns that look like something else are refused.
    where : dict, optional
        What of an assembly to keep, as in `read_assembly`.
    seed : int
        Of the random split.
    pixels : int, optional
        Length of the longer side that every image is resized to, keeping its shape; without it all are of one size.

    Returns
    -------
    out : Path

    A table has one row per image, or per presentation (the same file several times: trials, averaged, and kept for the
    val split). Columns: `file` (name within the folder); optional `object` (without it all images are of the object
    "unknown"); optional `split` (train, val or test; without it a tenth of each object's images goes to val and a
    tenth to test); optional `trial`; every other column is a neuron, with its response to the image. Rows of the
    test split may leave the responses empty, and the file keeps none of them.

    Raises
    ------
    DataError
        One sentence naming file, row and column, or what `datasets.load` would refuse; nothing is written.
    """
    must_be_new(out)
    return write(_read([Path(path) for path in inputs], neurons, where), out, seed=seed, pixels=pixels)


def _read(inputs, neurons, where):
    of_kind = {path.suffix.lower(): path for path in inputs}
    if ".nc" in of_kind and len(inputs) == 3 and ".csv" in of_kind:
        assembly, stimuli = of_kind[".nc"], of_kind[".csv"]
        (images,) = (path for path in inputs if path not in (assembly, stimuli))
        return brainio.read_assembly(assembly, stimuli, images, where=where)
    if of_kind.keys() <= {".npz", ".npy"} and len(inputs) in ((1,) if ".npz" in of_kind else (2, 3)):
        return arrays.read_arrays(inputs)
    if len(inputs) == 2 and inputs[0].suffix.lower() not in (".npy", ".npz"):
        folder, table = inputs
        return tables.read_table(table, folder, neurons)
    given = " ".join(map(str, inputs))
    raise DataError(f"{given}: expected FOLDER TABLE.csv, ARRAYS.npz, or ASSEMBLY.nc TABLE.csv IMAGES.zip.")


def write(recordings, out, *, seed=0, pixels=None, as_course=False):
    """Write Recordings as a data file: the mean over trials in float64, trials of val alone, nothing of test.

    Parameters
    ----------
    recordings : formats.recordings.Recordings
    out : str or Path
        Must not exist.
    seed : int
        Of the random split where the recordings have none.
    pixels : int, optional
        Length of the longer side that every image is resized to (antialiased), keeping its shape.
    as_course : bool
        The course file's keys alone, and its normalised float32 images.

    Returns
    -------
    out : Path

    """
    source = recordings.path
    splits = recordings.splits or _random_split(source, recordings.objects, seed)
    trials, means = recordings.trials, mean_over_trials(recordings.trials)
    if recordings.z_scored:
        mean, sd = means[splits["train"]].mean(axis=0, dtype=float), means[splits["train"]].std(axis=0, dtype=float)
        means, trials = ((x - mean) / np.where(sd, sd, 1) for x in (means, trials))
    names = recordings.neurons.get("name", np.arange(means.shape[1])).astype(str)
    print(f"{plural(len(names), 'neuron')}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}")
    for name, values in zip(names, means[splits["train"]].T, strict=True):
        if np.ptp(values) == 0:
            raise DataError(f"{source}: column {name} is constant over the training images; leave this neuron out.")
    try:
        objects = np.char.encode(recordings.objects.astype(str), "latin-1")
    except UnicodeEncodeError as error:
        raise DataError(f"{source}: has the object {error.object!r}; expected a name in latin-1 letters.") from error
    with created(out) as file:
        shape = _shape(recordings.images, pixels)
        _need(out, len(objects) * np.prod(shape) * (12 // shape[0] if as_course else 1) + trials[splits["val"]].nbytes)
        file.attrs["description"] = f"Own recordings packed from {Path(source).name}."
        file.attrs.update(recordings.attributes)
        for split, chosen in splits.items():
            images = [recordings.images[i] for i in chosen]
            write_images(file, f"stimulus_{split}", images, shape, as_course, opened=partial(_opened, shape))
            file[f"object_{split}"] = objects[chosen].tolist()
            if split != "test":
                file[f"spikes_{split}"] = means[chosen].astype(np.float32)
        if not as_course:
            _write_more(file, recordings, splits, trials[splits["val"]])
    if len(splits["val"]) < FEW:
        print(f"{out}: only {len(splits['val'])} val images, too few for an interval")
    return Path(out)


def _need(out, n_bytes):
    """Refuse a disk that may not hold so much, before minutes of work."""
    free = shutil.disk_usage(Path(out).parent).free
    if free < n_bytes:
        found = f"no space left: {free // 10**6} MB"
        raise DataError(f"{out}: cannot be written ({found}); expected {n_bytes // 10**6 + 1} MB, packed or not.")


def _write_more(file, recordings, splits, val_trials):
    """What the course's file has not: trials of val, and what is known of neurons and images."""
    n_repeats = int(np.isfinite(val_trials).any(axis=2).sum(axis=1).max())
    if n_repeats > 1:
        trials = val_trials[:, :n_repeats].astype(np.float32)
        file.create_dataset("spikes_val_repeats", data=trials, compression="gzip")
    _write_columns(file, "neurons", recordings.neurons)
    for split, chosen in splits.items():
        _write_columns(file, f"images_{split}", {k: v[chosen] for k, v in recordings.metadata.items()})


def _write_columns(file, group, columns):
    for name, values in columns.items():
        values = values.astype(int) if values.dtype.kind == "b" else values
        text = values.dtype.kind not in "fiu"
        file[f"{group}/{name.replace('/', '_')}"] = [str(v) for v in values.tolist()] if text else values


def _random_split(source, objects, seed):
    """A tenth of the images for val, a tenth for test, spread evenly over the objects: every n-th of each."""
    n_images = len(objects)
    n_held_out = max(3, 2 * round(n_images / 10))
    if n_images < n_held_out + 2:
        raise DataError(
            f"{source}: has {plural(n_images, 'image')}; expected five or more to split, or a column split."
        )
    order = np.random.default_rng(seed).permutation(n_images)
    order = order[np.argsort(np.array(objects)[order], kind="stable")]
    held_out = order[np.arange(n_held_out) * n_images // n_held_out]
    splits = {"val": np.sort(held_out[::2]), "test": np.sort(held_out[1::2])}
    return {"train": np.setdiff1d(order, held_out), **splits}


def _shape(images, pixels):
    """(n_channels, height, width) that all images have, once resized: one channel where all are gray."""
    sizes, n_channels, began = {}, 1, time.monotonic()
    for done, (label, source) in enumerate(images, 1):
        x = open_image(label, source)
        if n_channels == 1 and (x != x[..., :1]).any():
            n_channels = 3
        sizes.setdefault(_resized_to(x.shape[:2], pixels), label)
        if done % IMAGES_AT_ONCE == 0 or done == len(images):
            progress.show("reading images", began, done, len(images))
    if len(sizes) > 1:
        (first, one), (second, other), *_ = sizes.items()
        how = "images of one shape" if pixels else "one size (or give the pixels to resize to)"
        found = f"has {second[0]} x {second[1]} pixels and {Path(one).name} {first[0]} x {first[1]}"
        raise DataError(f"{other}: {found}; expected {how}.")
    return n_channels, *next(iter(sizes))


def _resized_to(size, pixels):
    scale = pixels / max(size) if pixels else 1
    return tuple(max(1, round(side * scale)) for side in size)


def _opened(shape, images):
    """Images, resized: uint8 (n_images, *shape)."""
    opened = (open_image(*image).transpose(2, 0, 1)[None, : shape[0]] for image in images)
    return np.concatenate([resized(x, np.arange(1), shape[1:]) for x in opened])
