"""Public recordings as Recordings, from their files as published, and what in them agrees with the course's file."""

import hashlib

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.model_selection import train_test_split

from helpers.datasets.describe import DATA, catalogue, thumbnails
from helpers.datasets.formats.arrays import load_array
from helpers.datasets.formats.brainio import ID, read_assembly
from helpers.datasets.formats.recordings import Recordings, from_zip, open_zip
from helpers.datasets.hdf5 import SPLITS, DataError, plural

FAR = 24  # of 240 bits; another decoder changes one, a JPEG of quality 60 up to 22
CLOSE = 1e-4  # of printed averages


def majaj_hong(entry, assembly, stimuli, images):
    """Recordings of Majaj & Hong 2015 with the course's split, and sentences on what agrees with the course's file.

    No response to the course's test images is kept.
    """
    recordings = read_assembly(assembly, stimuli, images, where=entry["where"])
    ids = recordings.metadata[next(name for name in ID if name in recordings.metadata)].astype(str)
    splits = recordings.splits = course_split(stimuli, ids, recordings.objects)
    recordings.trials[splits["test"]] = np.nan
    return recordings, agreement(recordings, ids, catalogue()["course"]["facts"])


def course_split(path, ids, objects):
    """The course's train, val and test as indices of images sorted by id: a tenth split off twice, within objects."""
    index = np.arange(len(ids))
    try:
        rest, test = train_test_split(index, test_size=0.1, random_state=42, stratify=objects)
        train, val = train_test_split(rest, test_size=0.1, random_state=42, stratify=objects[rest])
    except ValueError as error:
        raise DataError(f"{path}: cannot be split as the course did ({error}); expected the public images.") from error
    return {"train": train, "val": val, "test": test}


def split_digest(ids):
    """First 16 hex of the sha256 of the newline-joined ids, in the split's order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def agreement(recordings, ids, facts):
    """Sentences that hold the split, the counts per variation and printed averages against the course's."""
    lines = []
    for split, index in recordings.splits.items():
        found, expected = split_digest(ids[index]), facts["split_sha256"][split]
        words = "as in the course" if found == expected else f"differs from the course's, {expected}"
        lines.append(f"{split}: {plural(len(index), 'image')}, sha256 of the ids {found}, {words}")
    if "variation" in recordings.metadata:
        for split, index in recordings.splits.items():
            values, counts = np.unique(recordings.metadata["variation"][index].astype(int), return_counts=True)
            found = dict(zip(values.astype(str).tolist(), counts.tolist(), strict=True))
            words = (
                "as in the course"
                if found == facts["variations"][split]
                else f"the course has {facts['variations'][split]}"
            )
            lines.append(f"{split}: images per variation {found}, {words}")
    if recordings.trials.shape[2] == facts["n_neurons"]:
        lines.append(_printed_averages(recordings, ids, facts["averages"]))
    return lines


def _printed_averages(recordings, ids, averages):
    train, same = recordings.splits["train"], 0
    for fact in averages:
        shown = np.flatnonzero(np.char.startswith(ids[train], fact["image_id"]))
        if len(shown) == 1:
            mean = np.nanmean(recordings.trials[train[shown[0]]], axis=0, dtype=np.float64)
            same += np.allclose([*mean[:3], *mean[-3:]], [*fact["first"], *fact["last"]], atol=CLOSE)
    return f"averages: {same} of the {len(averages)} that public notebooks print of the course's file agree"


def cowley(entry, archive, responses):
    """Recordings of a session of Cowley et al., z-scored on its training images.

    Session 210325 has the objects and the split of data/v4_hvm640.csv, whose images are found by their pixels; others
    have neither, and are split at random.
    """
    members = (name for name in open_zip(archive).namelist() if not name.startswith("__MACOSX"))
    names = sorted(name for name in members if name.lower().endswith((".jpg", ".jpeg", ".png")))
    counts = load_array(responses)
    if counts.ndim != 3 or counts.shape[1] != len(names):
        raise DataError(f"{responses}: has shape {counts.shape}; expected (n_neurons, {len(names)}, n_repeats).")
    trials = counts.transpose(1, 2, 0)
    images = from_zip(archive, names, archive)
    objects, splits = np.full(len(names), "unknown"), None
    if entry["session"] == entry["labelled"]:
        images = [(label, lambda source=source: Image.open(source()).convert("L")) for label, source in images]
        objects, splits = _labelled(archive, images)
    neurons = {"area": np.full(trials.shape[2], "V4"), "name": np.arange(trials.shape[2]).astype(str)}
    recordings = Recordings(archive, images, objects, trials, neurons, {"file": np.array(names)}, splits, z_scored=True)
    return recordings, []


def _labelled(archive, images):
    """Objects and split of the images that data/v4_hvm640.csv lists, by the nearest difference hash."""
    table = pd.read_csv(DATA / "v4_hvm640.csv")
    listed = np.array([np.unpackbits(np.frombuffer(bytes.fromhex(h), np.uint8)) for h in table["difference_hash"]])
    shown = np.array([difference_hash(np.asarray(source())) for _, source in images])
    distances = np.array([(row != shown).sum(axis=1) for row in listed])  # (n_listed, n_images)
    nearest = distances.argmin(axis=1)
    found = (distances.min(axis=1) <= FAR).sum()
    if found < len(table) or len(set(nearest.tolist())) < len(table):
        raise DataError(
            f"{archive}: has {found} of the {len(table)} images of data/v4_hvm640.csv; expected all, once each."
        )
    objects = np.full(len(images), "unknown", dtype=object)
    objects[nearest] = table["object_name"]
    return objects.astype(str), {split: nearest[table["split"] == split] for split in SPLITS}


def difference_hash(gray):
    """240 bits that say of a gray image at 16 x 16 pixels which of two neighbours in a row is brighter.

    A change of decoder or a JPEG of low quality changes few of them.
    """
    (small,) = thumbnails(gray[None, None])
    return (small[:, 1:] > small[:, :-1]).ravel()
