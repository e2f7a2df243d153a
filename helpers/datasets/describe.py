"""What a data file holds, in a few lines: `python -m helpers data check FILE`. Needs no torch."""

import functools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.datasets import hdf5
from helpers.datasets.dataset import read
from helpers.datasets.images import IMAGES_AT_ONCE, encoding

DATA = Path(__file__).parents[2] / "data"
SIDE = 16  # images are compared at 16 x 16 gray pixels
SIMILAR = 0.95
SAME_MEAN = 0.01  # sds between the mean of the repeats and the responses
FEW = 10  # val images


def check(path):
    """Summary of a data file as `datasets.load` reads it, or the error.

    The similarity of val and training images is the largest correlation of each val image with a training image, at
    16 x 16 gray pixels.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    summary : str
        Lines of text.

    Raises
    ------
    DataError
    """
    dataset, *found = read(path)
    train, val, test = dataset.train, dataset.val, dataset.test
    with hdf5.opened(path) as file:
        known, stored = _known(file.attrs, dataset), encoding(hdf5.examine(file)).words
    lines = [f"{path}: fits{' (a stand-in: simulated responses)' if dataset.is_standin else ''}", *known]
    shapes = f"{train.responses.shape} train, {val.responses.shape} val"
    lines += [f"(n_images, n_neurons) = {shapes}; {len(test.images)} test images"]
    categories = sorted(Counter(hdf5.CATEGORY_OF.get(name, "other") for name in dataset.object_names).items())
    counts = ", ".join(f"{category} {count}" for category, count in categories)
    lines += [f"objects: {len(dataset.object_names)} in train ({counts})"]
    lines += [f"spikes_train: {_moments(train.responses)}", f"spikes_val: {_moments(val.responses)}", _repeats(val)]
    metadata = {"neurons": dataset.neurons, "images_train": train.metadata, "images_val": val.metadata}
    metadata["images_test"] = test.metadata
    if said := [f"{group} ({', '.join(columns)})" for group, columns in metadata.items() if columns]:
        lines += [f"also holds: {', '.join(said)}"]
    _, n_channels, height, width = dataset.images.shape
    lines += [f"images: {height} x {width} pixels, {'gray' if n_channels == 1 else 'colour'}, {stored}"]
    lines += [_similarity(thumbnails(train.images), thumbnails(val.images))]
    return "\n".join(lines + [f"warning: {sentence}" for sentence in doubts(dataset, *found)])


@functools.cache
def catalogue():
    """The sources of data/sources.json: dict from name to title, files, citation, licence, ..."""
    return json.loads((DATA / "sources.json").read_text(encoding="utf-8"))


def known(path):
    """Which known data set a file is, in a few words; empty for any other. See `check`"""
    with hdf5.opened(path) as file:
        lines = _known(file.attrs, read(path)[0])
    return "; ".join(line.removeprefix("known: ").partition("; cite")[0] for line in lines)


def _known(attributes, dataset):
    """Lines that say which known data set a file is, if it is one: by what it says of itself, then by its contents."""
    lines = []
    if (source := attributes.get("source")) in catalogue():
        session = f", session {attributes['session']}" if attributes.get("session") else ""
        lines.append(
            f"known: {catalogue()[source]['title']}{session} ({source}); cite {catalogue()[source]['citation']}"
        )
    facts, responses = catalogue()["course"]["facts"], dataset.train.responses
    if responses.shape == (facts["n_train"], facts["n_neurons"]):
        rows = [responses[fact["row"]] for fact in facts["averages"]]
        expected = [[*fact["first"], *fact["last"]] for fact in facts["averages"]]
        if np.allclose([[*row[:3], *row[-3:]] for row in rows], expected, atol=1e-4):
            lines.append("known: the responses of the course's file, whose printed averages these have")
    objects = np.concatenate([split.objects for split in (dataset.train, dataset.val, dataset.test)])
    if not lines and np.array_equal(objects, pd.read_csv(DATA / "v4_hvm640.csv")["object_name"].to_numpy(str)):
        lines.append("known: Cowley et al., macaque V4, session 210325, as names and order of its objects say")
    return lines


def _moments(values):
    return f"mean {values.mean():.3f}, sd {values.std():.3f}, min {values.min():.3f}, max {values.max():.3f}"


def _repeats(val):
    if val.repeats is None:
        return "repeats: none, so no noise ceiling"
    per_image = np.isfinite(val.repeats).any(axis=2).sum(axis=1)
    counts = f"repeats: {per_image.min()} to {per_image.max()} per val image, {per_image.mean():.1f} on average"
    return f"{counts}; correlation of their mean with spikes_val: {agreement(val)[0]:.3f}"


def thumbnails(images):
    """Images (n_images, n_channels, height, width) as gray ones of 16 x 16 pixels, in float32 and the same units."""
    rows, columns = map(_averages, images.shape[2:])
    starts = range(0, len(images), IMAGES_AT_ONCE)
    parts = (images[start : start + IMAGES_AT_ONCE].astype(np.float32) for start in starts)
    return np.concatenate([(rows @ part @ columns.T).mean(axis=1) for part in parts])


def _averages(length):
    """Matrix of shape (16, length) whose rows average neighbouring pixels."""
    edges = np.arange(SIDE + 1) * length / SIDE
    pixel = np.arange(length)
    covered = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
    return (covered.clip(0) * SIDE / length).astype(np.float32)


def _similarity(train, val):
    def standardised(images):
        flat = images.reshape(len(images), -1) - images.mean(axis=(1, 2))[:, None]
        return flat / np.linalg.norm(flat, axis=1, keepdims=True).clip(1e-12)

    nearest = (standardised(val) @ standardised(train).T).max(axis=1)
    twins = int((nearest > SIMILAR).sum())
    median = f"correlation with the nearest of {len(train)} training images: median {np.median(nearest):.2f}"
    return f"val images, {median}; above {SIMILAR}: {twins} of {len(val)}"


def doubts(dataset, digests, unverified):
    """Sentences on what is odd in a file but does not stop its use; arguments are what `dataset.read` returns."""
    train, val, sentences = dataset.train, dataset.val, []
    if unverified:
        sentences.append(f"made from files whose digest was not verified: {unverified}.")
    for first, second in ((0, 1), (0, 2), (1, 2)):
        if shared := int(np.isin(digests[second], digests[first]).sum()):
            keys = f"both stimulus_{hdf5.SPLITS[first]} and stimulus_{hdf5.SPLITS[second]}"
            sentences.append(f"{hdf5.plural(shared, 'image')} in {keys}, so scores leak; expected different images.")
    if new := sorted(set(val.objects.tolist()) - set(train.objects.tolist())):
        names = ", ".join(new[:5]) + (", ..." if len(new) > 5 else "")
        sentences.append(f"object_val has {hdf5.plural(len(new), 'object')} that object_train lacks: {names}.")
    if silent := int((np.ptp(val.responses, axis=0) == 0).sum()):
        sentences.append(f"spikes_val has {hdf5.plural(silent, 'constant neuron')}, with no score to give.")
    if len(val.responses) < FEW:
        sentences.append(f"only {len(val.responses)} val images, too few for an interval; expected {FEW} or more.")
    sentences += _other_mean("spikes_train", train)
    if val.repeats is not None and np.isfinite(val.repeats).any(axis=2).sum(axis=1).max() < 2:
        return [*sentences, "spikes_val_repeats has one trial per image, so no noise ceiling; expected two or more."]
    return sentences + _other_mean("spikes_val", val)


def _other_mean(key, split):
    """A sentence where the mean over trials is not the responses."""
    correlation, difference = agreement(split) if split.repeats is not None else (1, 0)
    if difference < SAME_MEAN:
        return []
    found = f"the mean of {key}_repeats is not {key} (correlation {correlation:.2f}, rms difference {difference:.2f}"
    return [f"{found} of its sd); expected the same order and units, and NaN for a trial that was not run."]


def agreement(split):
    """Correlation of the mean over trials with the responses, and rms difference in sds of the responses."""
    mean = hdf5.mean_over_trials(split.repeats)
    known = np.isfinite(mean)
    mean, responses = mean[known], split.responses[known].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # not defined for constant responses
        return np.corrcoef(mean, responses)[0, 1], np.sqrt(np.mean((mean - responses) ** 2)) / responses.std()
