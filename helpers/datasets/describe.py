"""What a data file holds, in a few lines: `python -m helpers data check FILE`. Needs no torch."""

import csv
import functools
import json
from collections import Counter
from pathlib import Path

import numpy as np

from helpers.datasets import hdf5
from helpers.datasets.images import Normalisation, blocks, encode, encoding, read_block

DATA = Path(__file__).parents[2] / "data"
READ_BYTES = 400e6  # of unpacked images: all of most files, an even sample of the course file's 1.9 GB, in about 2 s
SHARES = {"train": 0.55, "val": 0.35, "test": 0.1}  # of that sample
SIDE = 16  # images are compared at 16 x 16 gray pixels
SIMILAR = 0.95
FEW = 10  # val images
SAME_MEAN = 0.01  # sds between the mean of the repeats and the responses


def check(path):
    """Summary of a data file after the same checks as `datasets.load`, or the error.

    Of a large file only an even sample of the images is read; the summary says so. The similarity of val and training
    images is the largest correlation of each val image with a training image, at 16 x 16 gray pixels.

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
    with hdf5.opened(path) as file:
        arrays = hdf5.examine(file)
        parts = {split: hdf5.read_part(file, arrays, split) for split in hdf5.SPLITS}
        train, val = parts["train"], parts["val"]
        lines = [f"{path}: fits{' (a stand-in: simulated responses)' if hdf5.is_standin(file) else ''}"]
        lines += _known(file, [name for part in parts.values() for name in part["objects"]], train["responses"])
        shapes = f"{train['responses'].shape} train, {val['responses'].shape} val"
        lines += [f"(n_images, n_neurons) = {shapes}; {len(arrays['stimulus_test'])} test images"]
        categories = sorted(Counter(hdf5.CATEGORY_OF.get(name, "other") for name in set(train["objects"])).items())
        counts = ", ".join(f"{category} {count}" for category, count in categories)
        lines += [f"objects: {len(set(train['objects']))} in train ({counts})"]
        lines += [f"spikes_{split}: {_moments(parts[split]['responses'])}" for split in ("train", "val")]
        lines += [_repeats(val["responses"], val.get("repeats"))]
        metadata = {"neurons": hdf5.read_metadata(file, "neurons", train["responses"].shape[1])}
        metadata |= {f"images_{split}": part["metadata"] for split, part in parts.items()}
        if said := [f"{group} ({', '.join(columns)})" for group, columns in metadata.items() if columns]:
            lines += [f"also holds: {', '.join(said)}"]
        declared = hdf5.declared_constants(file)
        found = encoding(arrays, declared and Normalisation(*declared))
        thumbnails, is_gray, everything = _read_thumbnails(arrays, found)
        height, width = arrays["stimulus_train"].shape[-2:]
        lines += [f"images: {height} x {width} pixels, {'gray' if is_gray else 'colour'}, {found.words}"]
        if not everything:
            lines += [f"images read: {', '.join(f'{len(t)} of {s}' for s, t in thumbnails.items())} (an even sample)"]
        lines += [_similarity(thumbnails["train"], thumbnails["val"])]
        digests = [np.array([image.tobytes() for image in images], dtype=object) for images in thumbnails.values()]
        lines += [f"warning: {sentence}" for sentence in doubts(file, parts.values(), digests)]
    return "\n".join(lines)


@functools.cache
def catalogue():
    """The sources of data/sources.json: dict from name to title, files, citation, licence, ..."""
    return json.loads((DATA / "sources.json").read_text(encoding="utf-8"))


def _known(file, objects, responses):
    """Lines that say which known data set a file is, if it is one: by what it says of itself, then by its contents."""
    lines = []
    if (source := file.attrs.get("source")) in catalogue():
        session = f", session {file.attrs['session']}" if file.attrs.get("session") else ""
        lines.append(
            f"known: {catalogue()[source]['title']}{session} ({source}); cite {catalogue()[source]['citation']}"
        )
    facts = catalogue()["course"]["facts"]
    if responses.shape == (facts["n_train"], facts["n_neurons"]):
        rows = [responses[fact["row"]] for fact in facts["averages"]]
        expected = [[*fact["first"], *fact["last"]] for fact in facts["averages"]]
        if np.allclose([[*row[:3], *row[-3:]] for row in rows], expected, atol=1e-4):
            lines.append("known: the responses of the course's file, whose printed averages these have")
    with open(DATA / "v4_hvm640.csv", newline="", encoding="utf-8") as table:
        listed = [row["object_name"] for row in csv.DictReader(table)]
    if not lines and objects == listed:
        lines.append("known: Cowley et al., macaque V4, session 210325, by its objects' names and order")
    return lines


def difference_hash(gray):
    """240 bits (hex) that say of a gray image at 16 x 16 pixels which of two neighbours in a row is brighter.

    A change of decoder or a JPEG of low quality changes few of them.
    """
    rows, columns = (_averages(length) for length in gray.shape)
    small = rows @ gray.astype(np.float32) @ columns.T
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def _moments(values):
    return f"mean {values.mean():.3f}, sd {values.std():.3f}, min {values.min():.3f}, max {values.max():.3f}"


def _repeats(responses, repeats):
    if repeats is None:
        return "repeats: none, so no noise ceiling"
    per_image = np.isfinite(repeats).any(axis=2).sum(axis=1)
    counts = f"repeats: {per_image.min()} to {per_image.max()} per val image, {per_image.mean():.1f} on average"
    return f"{counts}; correlation of their mean with spikes_val: {agreement(responses, repeats)[0]:.3f}"


def _read_thumbnails(arrays, found):
    """Gray images of 16 x 16 pixels per split, whether all images read are gray, and whether these are all images."""
    stimuli = {split: arrays[f"stimulus_{split}"] for split in hdf5.SPLITS}
    image_bytes = stimuli["train"].dtype.itemsize * np.prod(stimuli["train"].shape[1:])
    everything = sum(map(len, stimuli.values())) * image_bytes <= READ_BYTES
    height, width = stimuli["train"].shape[-2:]
    rows, columns = _averages(height), _averages(width)
    thumbnails, is_gray = {}, True
    for split, data in stimuli.items():
        small, parts = [], blocks(data)
        if not everything:
            n_parts = max(1, int(READ_BYTES * SHARES[split] / image_bytes / (parts[0][1] - parts[0][0])))
            parts = [parts[i] for i in np.unique(np.linspace(0, len(parts) - 1, n_parts).astype(int))]
        for start, stop in parts:
            x = read_block(data, start, stop)
            pixels = found.pixels(data, x)
            is_gray = is_gray and encode(x, found.normalisation, 1, np.float32) is not None
            narrow = (pixels.reshape(-1, width) @ columns.T).reshape(*pixels.shape[:3], SIDE)
            small.append((rows @ narrow).mean(axis=1))
        thumbnails[split] = np.concatenate(small)
    return thumbnails, is_gray, everything


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


def doubts(file, parts, digests):
    """What is odd in a file but does not stop its use.

    Parameters
    ----------
    file : h5py.File
    parts : three dicts (train, val, test), as `hdf5.read_part` returns them
    digests : three arrays (train, val, test) of one value per image, equal for equal images

    Returns
    -------
    sentences : list of str
    """
    train, val, _ = parts
    responses, repeats = val["responses"], val.get("repeats")
    sentences = []
    if names := file.attrs.get("unverified"):
        sentences.append(f"made from files whose digest was not verified: {names}.")
    for first, second in ((0, 1), (0, 2), (1, 2)):
        if shared := int(np.isin(digests[second], digests[first]).sum()):
            keys = f"both stimulus_{hdf5.SPLITS[first]} and stimulus_{hdf5.SPLITS[second]}"
            sentences.append(f"{hdf5.plural(shared, 'image')} in {keys}, so scores leak; expected different images.")
    if new := sorted(set(val["objects"].tolist()) - set(train["objects"].tolist())):
        names = ", ".join(new[:5]) + (", ..." if len(new) > 5 else "")
        sentences.append(f"object_val has {hdf5.plural(len(new), 'object')} that object_train lacks: {names}.")
    if silent := int((np.ptp(responses, axis=0) == 0).sum()):
        sentences.append(f"spikes_val has {hdf5.plural(silent, 'constant neuron')}, with no score to give.")
    if len(responses) < FEW:
        sentences.append(f"only {len(responses)} val images, too few for an interval; expected {FEW} or more.")
    sentences += _other_mean("spikes_train", train["responses"], train.get("repeats"))
    if repeats is not None and np.isfinite(repeats).any(axis=2).sum(axis=1).max() < 2:
        return [*sentences, "spikes_val_repeats has one trial per image, so no noise ceiling; expected two or more."]
    return sentences + _other_mean("spikes_val", responses, repeats)


def _other_mean(key, responses, repeats):
    """A sentence where the mean over trials (n_images, n_repeats, n_neurons; or None) is not the responses."""
    correlation, difference = agreement(responses, repeats) if repeats is not None else (1, 0)
    if difference < SAME_MEAN:
        return []
    found = f"the mean of {key}_repeats is not {key} (correlation {correlation:.2f}, rms difference {difference:.2f}"
    return [f"{found} of its sd); expected the same order and units, and NaN for a trial that was not run."]


def agreement(responses, repeats):
    """Correlation of the mean over trials with the responses, and rms difference in sds of the responses."""
    counts = np.isfinite(repeats).sum(axis=1)
    mean = np.nansum(repeats, axis=1, dtype=np.float64) / np.where(counts, counts, np.nan)
    known = np.isfinite(mean)
    mean, responses = mean[known], responses[known].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # not defined for constant responses
        return np.corrcoef(mean, responses)[0, 1], np.sqrt(np.mean((mean - responses) ** 2)) / responses.std()
