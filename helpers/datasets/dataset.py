"""A data file in memory: read, checked and doubted; cut; folds of its training images."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from helpers.datasets import hdf5
from helpers.datasets.images import read_images, resized

N_FOLDS = 5  # of the training images, wherever something is chosen


@dataclass(frozen=True)
class Split:
    """Images of one role, and what is known of each.

    Attributes
    ----------
    images : array of shape (n_images, n_channels, height, width)
        uint8 pixels of 0 to 255 where these are the file's images to 2e-5 of the range, else float32 pixels of 0 to 1;
        n_channels is 1 where all channels hold the same gray image, else 3.
    objects, categories : str arrays of shape (n_images,)
        An object outside the 64 of the course is its own category.
    responses : float32 array of shape (n_images, n_neurons), or None (test)
        In the units of the file.
    repeats : float32 array of shape (n_images, n_repeats, n_neurons), or None
        Single trials, NaN where one is missing.
    metadata : dict from name (category, variation, ...) to array of shape (n_images,)
        What else the file says of the images.
    """

    images: np.ndarray
    objects: np.ndarray
    categories: np.ndarray
    responses: np.ndarray | None = None
    repeats: np.ndarray | None = None
    metadata: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A data file in memory: `images` is the one buffer (train, val, test) that the splits' images are views of.

    `fingerprint` (hex) changes with any image, name or response, not with the file's place, date or compression.
    `neurons` has a column (n_neurons,) of each thing that the file says of its neurons: animal, area, array, ...
    """

    path: Path
    name: str
    is_standin: bool
    fingerprint: str
    images: np.ndarray
    train: Split
    val: Split
    test: Split
    neurons: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_neurons(self):
        return self.train.responses.shape[1]

    @property
    def object_names(self):
        """Sorted names of the training images' objects: the classes of an object head."""
        return sorted(set(self.train.objects.tolist()))


def read(path):
    """Read and check a data file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dataset : Dataset
    digests : three arrays (train, val, test) of one value per image, equal for equal images
    unverified : names of the files that this one was made from whose digest was not verified, or None

    Raises
    ------
    DataError
        One sentence naming file, key, found and expected.
    """
    path = Path(path)
    with hdf5.opened(path) as file:
        arrays = hdf5.examine(file)
        is_standin, unverified = hdf5.is_standin(file), file.attrs.get("unverified")
        parts = [hdf5.read_part(file, arrays, split) for split in hdf5.SPLITS]
        neurons = hdf5.read_metadata(file, "neurons", parts[0]["responses"].shape[1])
        images = read_images(arrays)
    train, val, test = splits = _splits(images, parts)
    digests = [[hashlib.blake2b(image, digest_size=16).hexdigest() for image in split.images] for split in splits]
    digests = [np.array(some) for some in digests]
    described = (images.shape, images.dtype.str, [split.objects.tolist() for split in splits])
    contents = [train.responses, val.responses, val.repeats, train.repeats, np.concatenate(digests)]
    fingerprint = _digest(described, [array for array in contents if array is not None])
    dataset = Dataset(path, path.stem, is_standin, fingerprint, images, train, val, test, neurons)
    return dataset, digests, unverified


def _splits(images, parts):
    starts = np.cumsum([len(part["objects"]) for part in parts])[:-1]
    return [Split(images=some, **part) for some, part in zip(np.split(images, starts), parts, strict=True)]


def _digest(description, arrays):
    digest = hashlib.blake2b(repr(description).encode(), digest_size=16)
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()


def reduce(dataset, *, n_train, pixels):
    """The same data, cut: fewer training images, smaller images of all splits; val and test keep their number.

    Parameters
    ----------
    dataset : Dataset
    n_train : int or None
        At most so many training images, each object keeping its share; None for all.
    pixels : int or None
        At most so many pixels on the longer side, the other in proportion; None for no bound. Area-averaging
        bilinear interpolation (torch's antialias).

    Returns
    -------
    dataset : Dataset
        `dataset` itself where nothing is to be cut, else one with a fingerprint of its own.
    """
    n_all, size = len(dataset.train.images), dataset.images.shape[2:]
    few = n_train is not None and n_train < n_all
    small = pixels is not None and pixels < max(size)
    if not (few or small):
        return dataset
    keep = np.arange(n_all)
    if few:
        by_object = _dealing_order(dataset.train.objects, np.random.default_rng(0))
        keep = np.sort(by_object[np.arange(n_train) * n_all // n_train])
    chosen = np.concatenate([keep, np.arange(n_all, len(dataset.images))])
    if small:
        size = tuple(max(1, round(side * pixels / max(size))) for side in size)
    images = resized(dataset.images, chosen, size)
    parts = [_chosen(dataset.train, keep), *(_chosen(split, slice(None)) for split in (dataset.val, dataset.test))]
    train, val, test = _splits(images, parts)
    fingerprint = _digest((dataset.fingerprint, len(keep), size), [])
    return replace(dataset, images=images, train=train, val=val, test=test, fingerprint=fingerprint)


def _chosen(split, index):
    """The fields of a Split but for its images, cut to those of that index."""
    part = {name: v[index] for name, v in vars(split).items() if isinstance(v, np.ndarray) and name != "images"}
    return part | {"metadata": {name: values[index] for name, values in split.metadata.items()}}


def _dealing_order(objects, generator):
    """Indices of the images, object by object, shuffled within each."""
    order = generator.permutation(len(objects))
    return order[np.argsort(np.asarray(objects)[order], kind="stable")]


def folds(objects, n_folds, *, seed):
    """Folds of the training images that spread each object's images evenly, however many it has.

    Images are dealt out like cards, object by object: no object's share differs by more than one between folds, and
    no fold's size by more than one. Unlike scikit-learn's StratifiedKFold this takes objects with a single image.

    Parameters
    ----------
    objects : array of shape (n_images,)
    n_folds : int, from 2 to n_images
    seed : int

    Returns
    -------
    folds : list of n_folds pairs (fit_index, held_out_index)
        Sorted; each image is held out once.
    """
    if not 2 <= n_folds <= len(objects):
        raise ValueError(f"{n_folds} folds of {len(objects)} images; expected 2 to {len(objects)} folds.")
    generator = np.random.default_rng(seed)
    fold_of = np.empty(len(objects), int)
    order = _dealing_order(objects, generator)
    fold_of[order] = (np.arange(len(objects)) + generator.integers(n_folds)) % n_folds
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(n_folds)]


def choosing_folds(dataset):
    """The folds of the training images by which everything is tuned and chosen: N_FOLDS, or as many as images."""
    objects = dataset.train.objects
    return folds(objects, min(N_FOLDS, len(objects)), seed=0)


def fold_of(dataset, number):
    """One of `choosing_folds`: training images to fit and to hold out. Raises ValueError for one that is not there."""
    found = choosing_folds(dataset)
    if not 0 <= number < len(found):
        n_images = len(dataset.train.images)
        raise ValueError(f"no fold {number} of {n_images} training images; expected 0 to {len(found) - 1}.")
    return found[number]


def object_folds(objects, n_folds, *, seed):
    """Like `folds`, but each object is held out as a whole; folds hold about the same number of images.

    Raises
    ------
    ValueError
        If there are fewer objects than folds, so none could be held out in some fold.
    """
    names, index, counts = np.unique(np.asarray(objects), return_inverse=True, return_counts=True)
    if not 2 <= n_folds <= len(names):
        raise ValueError(f"{n_folds} folds of {len(names)} objects; expected 2 to {len(names)} folds.")
    shuffled = np.random.default_rng(seed).permutation(len(names))
    sizes, fold_of_name = np.zeros(n_folds, int), np.empty(len(names), int)
    for name in shuffled[np.argsort(-counts[shuffled], kind="stable")]:  # the largest first, to the emptiest fold
        fold_of_name[name] = sizes.argmin()
        sizes[fold_of_name[name]] += counts[name]
    fold_of = fold_of_name[index]
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(n_folds)]
