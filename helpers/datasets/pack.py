"""Pack a folder of images and a table of responses into a data file.

All work is done in a temporary folder beside the target, and the finished, checked file is moved into place, so that
whatever goes wrong leaves nothing behind; no file is overwritten.
"""

import csv
import math
import os
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from helpers import progress
from helpers.datasets.describe import check
from helpers.datasets.hdf5 import SPLITS, DataError, plural
from helpers.datasets.images import IMAGENET_MEAN, IMAGENET_SD, IMAGES_AT_ONCE

_FILE_COLUMNS = ("file", "file_name", "filename")


@contextmanager
def written_whole(target):
    """Yield a path to write to; on success the file there passes the checks and becomes `target`."""
    target = Path(target)
    if target.exists():
        raise DataError(f"{target}: exists already and is left alone; expected a new file name.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.stem}-")
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror}); expected a folder that can.") from error
    with temporary as folder:
        part = Path(folder) / target.name
        yield part
        try:
            check(part)
        except DataError as error:
            raise DataError(str(error).replace(str(part), str(target))) from error
        os.replace(part, target)


def pack(images_folder, table_csv, out, *, seed=0, pixels=None):
    """Write own recordings as a data file.

    Parameters
    ----------
    images_folder : str or Path
        Images that Pillow reads, without transparency, all of one size unless `pixels` is given.
    table_csv : str or Path
        One row per image. Columns: `file` (name within the folder); optional `object` (without it all images are of
        the object "unknown"); optional `split` (train, val or test; without it a tenth of each object's images goes
        to val and a tenth to test); every other column is a neuron, with its mean response to the image. Rows of the
        test split may leave the responses empty, and the file keeps none of them.
    out : str or Path
        Must not exist.
    seed : int
        Of the random split.
    pixels : int, optional
        Length of the longer side that every image is resized to, keeping its shape.

    Returns
    -------
    out : Path

    Raises
    ------
    DataError
        One sentence naming file, row and column, or what `datasets.load` would refuse; nothing is written.
    """
    files, objects, splits, responses, neurons = _read_table(table_csv)
    if splits is None:
        splits = _random_split(table_csv, objects, seed)
    for name, values in zip(neurons, responses[splits == "train"].T, strict=True):
        if np.ptp(values) == 0:
            raise DataError(f"{table_csv}: column {name} is constant over the training images; leave this neuron out.")
    paths = [Path(images_folder) / name for name in files]
    with written_whole(out) as part, h5py.File(part, "w") as file:
        file.attrs["description"] = f"Own recordings packed from {Path(table_csv).name}."
        file["neurons"] = neurons
        height, width = _size(table_csv, paths, pixels)
        began, done = time.monotonic(), 0
        for split in SPLITS:
            chosen = np.flatnonzero(splits == split)
            shape = (len(chosen), 3, height, width)
            chunks = (min(16, len(chosen)), *shape[1:])
            images = file.create_dataset(
                f"stimulus_{split}", shape, "f4", chunks=chunks, compression="gzip", shuffle=True
            )
            for start in range(0, len(chosen), IMAGES_AT_ONCE):
                block = chosen[start : start + IMAGES_AT_ONCE]
                images[start : start + len(block)] = np.stack([_normalised(paths[i], (width, height)) for i in block])
                done += len(block)
                progress.show("packing images", began, done, len(paths))
            file[f"object_{split}"] = [_latin(table_csv, objects[i]) for i in chosen]
            file[f"file_{split}"] = [files[i] for i in chosen]
            if split != "test":
                file[f"spikes_{split}"] = responses[chosen]
    return Path(out)


def _read_table(path):
    """File names, objects, splits (or None), responses (n_images, n_neurons) float32 and neuron names of a table."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header, *rows = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)] or [(1, [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected a CSV table in UTF-8.") from error
    header = [name.strip() for name in header[1]]
    plain = [name.lower().replace(" ", "_") for name in header]
    file_columns = [i for i, name in enumerate(plain) if name in _FILE_COLUMNS]
    if len(file_columns) != 1:
        raise DataError(f"{path}: has columns {header[:5]}; expected one called file, with the images' names.")
    if "" in header or len(set(header)) < len(header):
        raise DataError(f"{path}: has a column without a name or two of the same name; expected one name per column.")
    columns = {name: plain.index(name) for name in ("object", "split") if name in plain}
    neurons = [i for i in range(len(header)) if i not in (*file_columns, *columns.values())]
    if len(neurons) < 2:
        raise DataError(f"{path}: has {plural(len(neurons), 'column')} of neurons; expected two or more.")
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{path}: line {line} has {plural(len(row), 'cell')}; expected {len(header)} as in the first line."
            )
    files = [row[file_columns[0]].strip() for _, row in rows]
    if twice := [name for name, count in Counter(files).items() if count > 1]:
        raise DataError(f"{path}: lists {twice[0]!r} more than once; expected one row per image.")
    objects = [(row[columns["object"]].strip() if "object" in columns else "") or "unknown" for _, row in rows]
    splits = np.array([row[columns["split"]].strip() for _, row in rows]) if "split" in columns else None
    if splits is not None and set(splits.tolist()) != set(SPLITS):
        raise DataError(f"{path}: has the splits {sorted(set(splits.tolist()))}; expected train, val and test.")
    responses = np.full((len(rows), len(neurons)), np.nan, np.float32)
    for i, (line, row) in enumerate(rows):
        if splits is None or splits[i] != "test":
            responses[i] = [_number(path, line, header[j], row[j]) for j in neurons]
    return files, objects, splits, responses, [header[j] for j in neurons]


def _number(path, line, column, cell):
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}: line {line}, column {column} holds {cell!r}; expected a finite number.")
    return value


def _random_split(path, objects, seed):
    """Split names, about a tenth each of val and test, spread over the objects."""
    if len(objects) < 5:
        raise DataError(
            f"{path}: has {plural(len(objects), 'row')}; expected five or more to split into train, val and test."
        )
    n_images, n_held_out = len(objects), max(3, 2 * round(len(objects) / 10))
    order = np.random.default_rng(seed).permutation(n_images)
    order = order[np.argsort(np.array(objects)[order], kind="stable")]  # object by object, shuffled within each
    held_out = order[np.arange(n_held_out) * n_images // n_held_out]
    splits = np.full(n_images, "train")
    splits[held_out[::2]], splits[held_out[1::2]] = "val", "test"
    return splits


def _latin(path, name):
    try:
        return name.encode("latin-1")
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: has the object {name!r}; expected a name in latin-1 letters.") from error


def _size(table, paths, pixels):
    """(height, width) that all images have, once resized."""
    sizes, began = {}, time.monotonic()
    for done, path in enumerate(paths, 1):
        if not path.is_file():
            raise DataError(f"{table}: names the image {path}, which is not there; expected a file.")
        width, height = _open(path).size
        if pixels:
            scale = pixels / max(width, height)
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
        sizes.setdefault((height, width), path)
        progress.show("reading images", began, done, len(paths))
    if len(sizes) > 1:
        (first, one), (second, other), *_ = sizes.items()
        how = "images of one shape" if pixels else "one size (or give the pixels to resize to)"
        raise DataError(
            f"{other}: has {second[0]} x {second[1]} pixels and {one.name} {first[0]} x {first[1]}; expected {how}."
        )
    return next(iter(sizes))


def _open(path):
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image = ImageOps.exif_transpose(Image.open(path))  # as a viewer shows it; this also decodes it
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image; expected a format that Pillow knows.") from error
    if image.mode not in ("1", "L", "P", "RGB") or "transparency" in image.info:
        raise DataError(f"{path}: has mode {image.mode}; expected 8-bit gray or RGB without transparency.")
    return image


def _normalised(path, size):
    """The image at that size (width, height), float32 (3, height, width), ImageNet-normalised."""
    from PIL import Image

    image = _open(path).convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32) / 255
    return ((pixels - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_SD)).transpose(2, 0, 1)
