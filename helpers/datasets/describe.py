"""What a data file holds, in a few lines: `python -m helpers data check FILE`. Needs no torch."""

import csv
import functools
import json
from collections import Counter
from pathlib import Path

import numpy as np

from helpers.datasets import hdf5
from helpers.datasets.images import KNOWN, Normalisation, blocks, encode, encoding, read_block

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
        objects = [hdf5.read_objects(arrays[f"object_{split}"]) for split in hdf5.SPLITS]
        responses = {split: hdf5.read_responses(arrays[f"spikes_{split}"]) for split in ("train", "val")}
        lines = [f"{path}: fits{' (a stand-in: simulated responses)' if hdf5.is_standin(file) else ''}"]
        lines += _known(file, objects, responses["train"])
        strange = unverified(file)
        lines += [_shapes(arrays)]
        lines += [f"objects: {len(set(objects[0]))} in train ({_per_category(objects[0])})"]
        lines += [f"spikes_{split}: {_moments(values)}" for split, values in responses.items()]
        repeats = None
        if "spikes_val_repeats" in arrays:
            repeats = hdf5.read_responses(arrays["spikes_val_repeats"], allow_missing=True)
        lines += [_repeats(responses["val"], repeats)]
        metadata = {group: hdf5.read_metadata(file, group, n) for group, n in _groups(objects, responses)}
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
    lines += [f"warning: {sentence}" for sentence in strange + doubts(objects, responses["val"], repeats, digests)]
    return "\n".join(lines)


def declare(path, words):
    """Write into a file how its images are normalised; a sentence that says so.

    words : name of known constants, or numbers as text: mean and sd, one each or three. Raises DataError for others.
    """
    if len(words) == 1 and words[0] in KNOWN:
        constants, _ = KNOWN[words[0]]
        mean, sd = constants.mean, constants.sd
    elif len(words) in (2, 6):
        numbers = [float(number) for number in words]
        mean, sd = (numbers[:3], numbers[3:]) if len(numbers) == 6 else ([numbers[0]] * 3, [numbers[1]] * 3)
    else:
        found = " ".join(words)
        raise hdf5.DataError(f"{found}: no such constants; expected imagenet, clip, half, none, bytes, or mean and sd.")
    hdf5.declare_constants(path, mean, sd)
    return f"{path}: its images are declared to be (pixels - {mean}) / {sd}"


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
        listed = list(csv.DictReader(table))
    if not lines and [name for some in objects for name in some] == [row["object_name"] for row in listed]:
        lines.append("known: Cowley et al., macaque V4, session 210325, by its objects' names and order")
    return lines


def unverified(file):
    """A sentence where the file was made from sources taken as they were."""
    names = file.attrs.get("unverified")
    return [f"made from files whose digest was not verified: {names}."] if names else []


def difference_hash(gray):
    """240 bits (hex) that say of a gray image at 16 x 16 pixels which of two neighbours in a row is brighter.

    A change of decoder or a JPEG of low quality changes few of them.
    """
    rows, columns = (_averages(length) for length in gray.shape)
    small = rows @ gray.astype(np.float32) @ columns.T
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def _shapes(arrays):
    train, val = arrays["spikes_train"].shape, arrays["spikes_val"].shape
    return f"(n_images, n_neurons) = {train} train, {val} val; {len(arrays['stimulus_test'])} test images"


def _groups(objects, responses):
    counts = [len(names) for names in objects]
    return [("neurons", responses["train"].shape[1]), *zip([f"images_{s}" for s in hdf5.SPLITS], counts, strict=True)]


def _per_category(objects):
    counts = Counter(hdf5.CATEGORY_OF.get(name, "other") for name in set(objects.tolist()))
    return ", ".join(f"{category} {count}" for category, count in sorted(counts.items()))


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


def doubts(objects, responses_val, repeats_val, digests):
    """What is odd in a file but does not stop its use.

    Parameters
    ----------
    objects : three str arrays (train, val, test)
    responses_val : array of shape (n_images, n_neurons)
    repeats_val : array of shape (n_images, n_repeats, n_neurons), or None
    digests : three arrays (train, val, test) of one value per image, equal for equal images

    Returns
    -------
    sentences : list of str
    """
    sentences = []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        if shared := int(np.isin(digests[second], digests[first]).sum()):
            keys = f"both stimulus_{hdf5.SPLITS[first]} and stimulus_{hdf5.SPLITS[second]}"
            sentences.append(f"{hdf5.plural(shared, 'image')} in {keys}, so scores leak; expected different images.")
    if new := sorted(set(objects[1].tolist()) - set(objects[0].tolist())):
        names = ", ".join(new[:5]) + (", ..." if len(new) > 5 else "")
        sentences.append(f"object_val has {hdf5.plural(len(new), 'object')} that object_train lacks: {names}.")
    if silent := int((np.ptp(responses_val, axis=0) == 0).sum()):
        sentences.append(f"spikes_val has {hdf5.plural(silent, 'constant neuron')}, with no score to give.")
    if len(responses_val) < FEW:
        sentences.append(f"only {len(responses_val)} val images, too few for an interval; expected {FEW} or more.")
    if repeats_val is not None:
        sentences += _repeats_doubts(responses_val, repeats_val)
    return sentences


def _repeats_doubts(responses, repeats):
    if np.isfinite(repeats).any(axis=2).sum(axis=1).max() < 2:
        return ["spikes_val_repeats has one trial per image, so no noise ceiling; expected two or more."]
    correlation, difference = agreement(responses, repeats)
    if difference < SAME_MEAN:
        return []
    found = f"the mean of spikes_val_repeats is not spikes_val (correlation {correlation:.2f}, rms difference "
    expected = "the same order and units, and NaN for a trial that was not run"
    return [f"{found}{difference:.2f} of its sd); expected {expected}."]


def agreement(responses, repeats):
    """Correlation of the mean over trials with the responses, and rms difference in sds of the responses."""
    counts = np.isfinite(repeats).sum(axis=1)
    mean = np.nansum(repeats, axis=1, dtype=np.float64) / np.where(counts, counts, np.nan)
    known = np.isfinite(mean)
    mean, responses = mean[known], responses[known].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # not defined for constant responses
        return np.corrcoef(mean, responses)[0, 1], np.sqrt(np.mean((mean - responses) ** 2)) / responses.std()
