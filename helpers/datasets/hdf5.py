"""The data file's keys, and the checks of all but its images.

A broken file ends in a `DataError` of one sentence that names the file, the key, what was found and what was expected.
"""

from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

SPLITS = ("train", "val", "test")
SMALLEST_SIDE = 8  # pixels; below it two 2x2 poolings leave the shallow CNN next to nothing
_STANDIN_MARK = "Simulated responses."  # how the root attribute `description` of a stand-in begins

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


def failure(path, key, found, expected=None):
    """DataError that names file, key, what was found and what was expected."""
    end = f"; expected {expected}." if expected else "."
    return DataError(f"{path}: {key} {found}{end}")


@contextmanager
def opened(path):
    """Open a data file for reading; whatever cannot be read in it is a DataError."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; expected an HDF5 file.")
    if not path.exists():
        raise DataError(f"{path}: no such file.")
    try:
        if not h5py.is_hdf5(path):
            path.open("rb").close()  # an unreadable file says so itself
            size = path.stat().st_size
            raise DataError(f"{path}: is not an HDF5 file ({size} bytes); expected one like IT_data.h5.")
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # h5py raises any of them for a damaged file
        if "truncated file" in str(error):
            raise DataError(f"{path}: is truncated at {path.stat().st_size} bytes; expected the whole file.") from error
        detail = " ".join(str(error).split())
        raise DataError(f"{path}: is damaged or cannot be read ({detail}); expected a readable HDF5 file.") from error


def _dataset(file, key, n_dimensions, text=False):
    """The HDF5 data set of that key, stored in this very file, with the right kind and rank."""
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
    is_text = h5py.check_string_dtype(data.dtype) is not None
    if text and not is_text:
        raise failure(path, key, f"holds {data.dtype}", "object names as bytes or text")
    if not text and (is_text or data.dtype.kind not in "fiu"):
        raise failure(path, key, f"holds {'text' if is_text else data.dtype}", "numbers")
    if data.shape is None or data.ndim != n_dimensions:
        raise failure(path, key, f"has shape {data.shape}", plural(n_dimensions, "dimension"))
    return data


def is_standin(file):
    """Whether the file's root attribute `description` says that its responses are simulated."""
    return str(file.attrs.get("description", "")).startswith(_STANDIN_MARK)


def examine(file):
    """Check keys, types and shapes, and that they fit each other, without reading the arrays.

    Returns
    -------
    arrays : dict from key to h5py.Dataset
        The optional spikes_val_repeats only where the file has it.

    Raises
    ------
    DataError
    """
    path = file.filename
    arrays = {}
    for split in SPLITS:
        key = f"stimulus_{split}"
        gray = getattr(file.get(key), "ndim", 4) == 3 and file[key].dtype == np.uint8
        images = arrays[key] = _dataset(file, key, 3 if gray else 4)
        if not gray and images.shape[1] != 3:
            last = " (channels last)" if images.shape[3] == 3 else ""
            raise failure(path, key, f"has shape {images.shape}{last}", "(n_images, 3, height, width)")
        if images.shape[-2:] != arrays["stimulus_train"].shape[-2:]:
            size = arrays["stimulus_train"].shape[-2:]
            raise failure(path, key, f"has images of {images.shape[-2:]} pixels", f"{size} as in stimulus_train")
        if min(images.shape[-2:]) < SMALLEST_SIDE:
            raise failure(path, key, f"has images of {images.shape[-2:]} pixels", f"at least {SMALLEST_SIDE} a side")
        needed = 1 if split == "test" else 2  # a score of one image is not defined
        if len(images) < needed:
            raise failure(path, key, f"has {plural(len(images), 'image')}", f"{needed} or more")
        arrays[f"object_{split}"] = _dataset(file, f"object_{split}", 1, text=True)
        if split != "test":
            arrays[f"spikes_{split}"] = _dataset(file, f"spikes_{split}", 2)
        for other in (f"object_{split}", f"spikes_{split}"):
            if other in arrays and len(arrays[other]) != len(images):
                found = plural(len(arrays[other]), "row")
                raise failure(path, other, f"has {found}", f"{len(images)}, one per image of {key}")
    n_neurons = arrays["spikes_train"].shape[1]
    if n_neurons < 2:
        raise failure(path, "spikes_train", f"has {plural(n_neurons, 'neuron')}", "two or more")
    if arrays["spikes_val"].shape[1] != n_neurons:
        found = f"has {plural(arrays['spikes_val'].shape[1], 'neuron')}"
        raise failure(path, "spikes_val", found, f"{n_neurons} as in spikes_train")
    if "spikes_val_repeats" in file:
        repeats = arrays["spikes_val_repeats"] = _dataset(file, "spikes_val_repeats", 3)
        n_images = len(arrays["spikes_val"])
        if repeats.shape[::2] != (n_images, n_neurons) or repeats.shape[1] == 0:
            expected = f"({n_images}, n_repeats, {n_neurons})"
            raise failure(path, "spikes_val_repeats", f"has shape {repeats.shape}", expected)
    return arrays


def read_objects(data):
    """Object names as a numpy str array; bytes are latin-1 unless the file says UTF-8."""
    encoding = "utf-8" if h5py.check_string_dtype(data.dtype).encoding == "utf-8" else "latin-1"
    try:
        return np.array([name.decode(encoding) for name in data[()]], dtype=str)
    except UnicodeDecodeError as error:
        raise failure(data.file.filename, data.name.lstrip("/"), f"is not {encoding}", "readable names") from error


def read_responses(data, *, allow_missing=False):
    """Responses as float32, finite (NaN too where `allow_missing`: a trial that was not run)."""
    key = data.name.lstrip("/")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
        responses = data[()].astype(np.float32)
    broken = np.isinf(responses) if allow_missing else ~np.isfinite(responses)
    if broken.any():
        where = [int(i) for i in np.argwhere(broken)[0]]
        found = f"holds NaN or infinity {plural(int(broken.sum()), 'time')}, first for image {where[0]}"
        raise failure(data.file.filename, key, f"{found}, neuron {where[-1]}", "finite numbers")
    if key == "spikes_train" and len(silent := np.flatnonzero(np.ptp(responses, axis=0) == 0)):
        found = f"has {plural(len(silent), 'constant neuron')}, the first in column {silent[0]}"
        raise failure(data.file.filename, key, found, "only neurons whose responses vary")
    return responses


def doubts(objects, responses_val, digests):
    """What is odd in a file but does not stop its use.

    Parameters
    ----------
    objects : three str arrays (train, val, test)
    responses_val : array of shape (n_images, n_neurons)
    digests : three arrays (train, val, test) of one value per image, equal for equal images

    Returns
    -------
    sentences : list of str
    """
    sentences = []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        if shared := int(np.isin(digests[second], digests[first]).sum()):
            keys = f"both stimulus_{SPLITS[first]} and stimulus_{SPLITS[second]}"
            sentences.append(f"{plural(shared, 'image')} in {keys}, so scores leak; expected different images.")
    if new := sorted(set(objects[1].tolist()) - set(objects[0].tolist())):
        names = ", ".join(new[:5]) + (", ..." if len(new) > 5 else "")
        sentences.append(f"object_val has {plural(len(new), 'object')} that object_train lacks: {names}.")
    if silent := int((np.ptp(responses_val, axis=0) == 0).sum()):
        sentences.append(f"spikes_val has {plural(silent, 'constant neuron')}, with no score to give.")
    return sentences
