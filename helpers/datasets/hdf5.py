"""The data file's keys, and the checks of all but its images.

A broken file ends in a `DataError` of one sentence that names the file, the key, what was found and what was expected.
"""

import re
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

SPLITS = ("train", "val", "test")
SMALLEST_SIDE = 8  # pixels; below it two 2x2 poolings leave the shallow CNN next to nothing
SIMULATED = (  # as a stand-in's root attribute `description` says, whose first words are its mark
    "Simulated responses. Rankings and label effects are built in by construction. "
    "Not comparable with published IT scores."
)

_OBJECTS = {
    **{f"{kind}s": [f"{kind}{i}" for i in range(8)] for kind in ("airplane", "chair", "face", "ship", "table")},
    "cars": [f"car_{name}" for name in ("alfa", "astra", "beetle", "bmw", "bora", "celica", "clio", "z3")],
    "animals": ["bear", "cow", "dog", "elephant", "gorilla", "hedgehog", "lioness", "turtle"],
    "fruits": ["apple", "apricot", "peach", "pear", "raspberry", "strawberry", "walnut", "watermelon"],
}
CATEGORY_OF = {name: category for category, names in _OBJECTS.items() for name in names}


class DataError(ValueError):
    """A data file, or a table to make one from, that cannot be used; one sentence says why."""


def plural(number, noun):
    """ "1 neuron", "2 neurons"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def failure(path, key, found, expected):
    """DataError that names file, key, what was found and what was expected."""
    return DataError(f"{path}: {key} {found}; expected {expected}.")


def refused(data, found, expected):
    """The same of an HDF5 data set."""
    return failure(data.file.filename, data.name.lstrip("/"), found, expected)


@contextmanager
def opened(path):
    """Open a data file for reading; whatever cannot be read in it is a DataError."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; expected an HDF5 file.")
    if not path.exists():
        raise DataError(f"{path}: no such file.")
    try:
        path.open("rb").close()  # an unreadable file says so itself
        if not h5py.is_hdf5(path):
            size = path.stat().st_size
            raise DataError(f"{path}: is not an HDF5 file ({size} bytes); expected one like IT_data.h5.")
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # h5py raises any of them
        raise DataError(f"{path}: {_cause(path, error)}.") from error


def _cause(path, error):
    """What keeps a file from being read, and what was expected."""
    detail = " ".join(str(error).split())
    if isinstance(error, PermissionError):
        return "cannot be read (no permission); expected a file that you may read"
    if "truncated file" in detail:
        return f"is truncated at {path.stat().st_size} bytes; expected the whole file"
    if "unable to lock file" in detail:
        return "is locked by another program that has it open; expected it closed there"
    if re.search(r"required filter|can't open directory.*plugin", detail):
        return "is packed with a compression filter that h5py lacks here; expected gzip, lzf or none"
    return f"is damaged or cannot be read ({detail}); expected a readable HDF5 file"


def _dataset(file, key, *n_dimensions, text=False):
    """The HDF5 data set of that key, stored in this very file, with the right kind and one of the ranks."""
    path = file.filename
    link = file.get(key, getlink=True)
    if link is None:
        found = ", ".join(sorted(file)[:10]) or "nothing"
        raise failure(path, key, f"is missing (the file has {found})", "the keys of IT_data.h5")
    if isinstance(link, h5py.ExternalLink):
        raise failure(path, key, f"is an external link to {link.filename}", "the data in the file itself")
    data = file.get(key)
    if not isinstance(data, h5py.Dataset):
        raise failure(path, key, "is a dangling link" if data is None else "is a group", "an array")
    if data.is_virtual or data.external or data.file.filename != path:
        raise failure(path, key, "has its data in other files", "the data in the file itself")
    if "MATLAB_class" in data.attrs:
        raise failure(path, key, "was saved by MATLAB, which turns the order of all axes round", "the order of NumPy")
    is_text = h5py.check_string_dtype(data.dtype) is not None
    if text and not is_text:
        raise failure(path, key, f"holds {data.dtype}", "object names as bytes or text")
    if not text and (is_text or data.dtype.kind not in "fiu"):
        raise failure(path, key, f"holds {'text' if is_text else data.dtype}", "numbers")
    if data.shape is None or data.ndim not in n_dimensions:
        *few, last = n_dimensions
        ranks = " or ".join([*map(str, few), plural(last, "dimension")])
        raise failure(path, key, f"has shape {data.shape}", ranks)
    return data


def is_standin(file):
    """Whether the file's root attribute `description` says that its responses are simulated."""
    return str(file.attrs.get("description", "")).startswith(SIMULATED.partition(". ")[0])


def declared_constants(file):
    """(mean, sd), three numbers each, that the root attributes image_mean and image_sd declare, or None."""
    given = [file.attrs.get(name) for name in ("image_mean", "image_sd")]
    if given[0] is None and given[1] is None:
        return None
    if any(np.shape(v) != (3,) or not np.isfinite(v).all() for v in given) or min(given[1]) <= 0:
        raise failure(file.filename, "image_mean and image_sd", "are not three numbers each", "those, and sd above 0")
    return tuple(tuple(values.tolist()) for values in given)


def examine(file):
    """Check keys, types and shapes, and that they fit each other, without reading the arrays.

    Returns
    -------
    arrays : dict from key to h5py.Dataset
        The optional spikes_train_repeats and spikes_val_repeats only where the file has them.

    Raises
    ------
    DataError
    """
    arrays = {}
    for split in SPLITS:
        arrays[f"stimulus_{split}"] = _images(file, split)
        arrays[f"object_{split}"] = _dataset(file, f"object_{split}", 1, text=True)
        if split != "test":
            arrays[f"spikes_{split}"] = _dataset(file, f"spikes_{split}", 2)
            if (trials := f"spikes_{split}_repeats") in file:
                arrays[trials] = _dataset(file, trials, 3)
    image, n_neurons = arrays["stimulus_train"].shape[1:], arrays["spikes_train"].shape[1]
    if n_neurons < 2:
        raise refused(arrays["spikes_train"], f"has {plural(n_neurons, 'neuron')}", "two or more")
    for key, data in arrays.items():
        kind, split, *_ = key.split("_")
        n_trials = [n or "one or more trials" for n in data.shape[1:-1]]
        n_images, per_image = len(arrays[f"stimulus_{split}"]), f"a row per image of stimulus_{split}"
        expected, why = {
            "stimulus": ((n_images, *image), "as in stimulus_train"),
            "object": ((n_images,), per_image),
            "spikes": ((n_images, *n_trials, n_neurons), f"{per_image}, the neurons of spikes_train"),
        }[kind]
        if data.shape != expected:
            raise refused(data, f"has shape {data.shape}", f"{expected}, {why}")
    return arrays


def _images(file, split):
    images = _dataset(file, f"stimulus_{split}", 3, 4)
    shape = images.shape
    if images.ndim == 4 and shape[1] not in (1, 3):
        last = " (channels last)" if shape[3] in (1, 3) else ""
        raise refused(images, f"has shape {shape}{last}", "(n_images, 1 or 3, height, width)")
    if min(shape[-2:]) < SMALLEST_SIDE:
        raise refused(images, f"has images of {shape[-2:]} pixels", f"at least {SMALLEST_SIDE} a side")
    needed = 1 if split == "test" else 2  # a score of one image is not defined
    if len(images) < needed:
        raise refused(images, f"has {plural(len(images), 'image')}", f"{needed} or more")
    return images


def read_metadata(file, group, n_rows):
    """Columns of the group `neurons`, `images_train`, `images_val` or `images_test`, where the file has it.

    Returns
    -------
    metadata : dict from name to array of shape (n_rows,)
        Text as str, numbers as they are.
    """
    columns = {}
    if isinstance(file.get(group), h5py.Group):  # older files keep the neurons' names under this key
        for name in file[group]:
            key = f"{group}/{name}"
            is_text = h5py.check_string_dtype(getattr(file[group][name], "dtype", np.dtype(float))) is not None
            data = _dataset(file, key, 1, text=is_text)
            if len(data) != n_rows:
                raise refused(data, f"has {plural(len(data), 'row')}", str(n_rows))
            columns[name] = read_objects(data) if is_text else data[()]
    return columns


def read_objects(data):
    """Object names as a numpy str array; bytes are latin-1 unless the file says UTF-8."""
    encoding = "utf-8" if h5py.check_string_dtype(data.dtype).encoding == "utf-8" else "latin-1"
    try:
        return np.array([name.decode(encoding) for name in data[()]], dtype=str)
    except UnicodeDecodeError as error:
        raise refused(data, f"is not {encoding}", "readable names") from error


def read_responses(data, *, allow_missing=False):
    """Responses as float32, finite (NaN too where `allow_missing`: a trial that was not run)."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
        responses = data[()].astype(np.float32)
    broken = np.isinf(responses) if allow_missing else ~np.isfinite(responses)
    if broken.any():
        where = [int(i) for i in np.argwhere(broken)[0]]
        found = f"holds NaN or infinity {plural(int(broken.sum()), 'time')}, first for image {where[0]}"
        raise refused(data, f"{found}, neuron {where[-1]}", "finite numbers")
    if data.name == "/spikes_train" and len(silent := np.flatnonzero(np.ptp(responses, axis=0) == 0)):
        found = f"has {plural(len(silent), 'constant neuron')}, the first in column {silent[0]}"
        raise refused(data, found, "only neurons whose responses vary")
    return responses


def mean_over_trials(trials):
    """Of (n_images, n_repeats, n_neurons), NaN where one is missing: (n_images, n_neurons) in float64."""
    counts = np.isfinite(trials).sum(axis=1)
    return np.nansum(trials, axis=1, dtype=np.float64) / np.where(counts, counts, np.nan)


def read_part(file, arrays, split):
    """All but the images of a split: objects, categories, responses, repeats (where it has them) and metadata."""
    objects = read_objects(arrays[f"object_{split}"])
    part = {"objects": objects, "categories": np.array([CATEGORY_OF.get(name, name) for name in objects.tolist()])}
    if f"spikes_{split}" in arrays:
        part["responses"] = read_responses(arrays[f"spikes_{split}"])
    if f"spikes_{split}_repeats" in arrays:
        part["repeats"] = read_responses(arrays[f"spikes_{split}_repeats"], allow_missing=True)
    return part | {"metadata": read_metadata(file, f"images_{split}", len(objects))}
