"""What a data file holds, in a few lines: `python -m helpers data check FILE`. Needs no torch."""

from collections import Counter

import numpy as np

from helpers.datasets import hdf5
from helpers.datasets.images import Scale, blocks, read_block, to_pixels

READ_BYTES = 400e6  # of unpacked images: all of most files, an even sample of the course file's 1.9 GB, in about 2 s
SHARES = {"train": 0.55, "val": 0.35, "test": 0.1}  # of that sample
SIDE = 16  # images are compared at 16 x 16 gray pixels
SIMILAR = 0.95


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
        lines += [_shapes(arrays)]
        lines += [f"objects: {len(set(objects[0]))} in train ({_per_category(objects[0])})"]
        lines += [f"spikes_{split}: {_moments(values)}" for split, values in responses.items()]
        lines += [_repeats(arrays)]
        thumbnails, is_gray, everything = _read_thumbnails(arrays)
        height, width = arrays["stimulus_train"].shape[-2:]
        lines += [f"images: {height} x {width} pixels, {'gray' if is_gray else 'colour'}, normalised once"]
        if not everything:
            lines += [f"images read: {', '.join(f'{len(t)} of {s}' for s, t in thumbnails.items())} (an even sample)"]
        lines += [_similarity(thumbnails["train"], thumbnails["val"])]
    digests = [np.array([image.tobytes() for image in images], dtype=object) for images in thumbnails.values()]
    lines += [f"warning: {sentence}" for sentence in hdf5.doubts(objects, responses["val"], digests)]
    return "\n".join(lines)


def _shapes(arrays):
    train, val = arrays["spikes_train"].shape, arrays["spikes_val"].shape
    return f"(n_images, n_neurons) = {train} train, {val} val; {len(arrays['stimulus_test'])} test images"


def _per_category(objects):
    counts = Counter(hdf5.CATEGORY_OF.get(name, "other") for name in set(objects.tolist()))
    return ", ".join(f"{category} {count}" for category, count in sorted(counts.items()))


def _moments(values):
    return f"mean {values.mean():.3f}, sd {values.std():.3f}, min {values.min():.3f}, max {values.max():.3f}"


def _repeats(arrays):
    if "spikes_val_repeats" not in arrays:
        return "repeats: none, so no noise ceiling"
    repeats = hdf5.read_responses(arrays["spikes_val_repeats"], allow_missing=True)
    per_image = np.isfinite(repeats).any(axis=2).sum(axis=1)
    return f"repeats: {per_image.min()} to {per_image.max()} per val image, {per_image.mean():.1f} on average"


def _read_thumbnails(arrays):
    """Gray images of 16 x 16 pixels per split, whether all images read are gray, and whether these are all images."""
    stimuli = {split: arrays[f"stimulus_{split}"] for split in hdf5.SPLITS}
    image_bytes = 4 * np.prod(stimuli["train"].shape[1:])
    everything = sum(map(len, stimuli.values())) * image_bytes <= READ_BYTES
    height, width = stimuli["train"].shape[-2:]
    rows, columns = _averages(height), _averages(width)
    thumbnails, is_gray = {}, True
    for split, data in stimuli.items():
        scale, small, parts = Scale(data), [], blocks(data)
        if not everything:
            n_parts = max(1, int(READ_BYTES * SHARES[split] / image_bytes / (parts[0][1] - parts[0][0])))
            parts = [parts[i] for i in np.unique(np.linspace(0, len(parts) - 1, n_parts).astype(int))]
        for start, stop in parts:
            x = read_block(data, start, stop)
            scale.update(x)
            narrow = (x.reshape(-1, width) @ columns.T).reshape(*x.shape[:3], SIDE)
            small.append(to_pixels(rows @ narrow).mean(axis=1))
        scale.finish()
        is_gray = is_gray and scale.gray_in_pixels
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
