"""Broken input ends in one clear sentence that names the file, and changes nothing on disk.

`python tests/test_bad_input.py` prints the sentences.
"""

import csv
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from test_datasets import MEAN, SD, write_file

from helpers import acquire, datasets
from helpers.datasets import DataError

KEYS = [f"{kind}_{split}" for kind in ("stimulus", "object") for split in ("train", "val", "test")]
KEYS += ["spikes_train", "spikes_val"]


def changed(key, change):
    """What rewrites one array of a file as change(array)."""

    def breaker(path):
        with h5py.File(path, "r+") as file:
            values = file[key][()]
            del file[key]
            file[key] = change(values)

    return breaker


def without(key):
    def breaker(path):
        with h5py.File(path, "r+") as file:
            del file[key]

    return breaker


def element(key, index, value):
    def change(values):
        values[index] = value
        return values

    return changed(key, change)


def of_all_images(change):
    def breaker(path):
        for split in ("train", "val", "test"):
            changed(f"stimulus_{split}", change)(path)

    return breaker


def raw(x):
    return (x * SD + MEAN).clip(0, 1)


def linked(key, link):
    def breaker(path):
        shutil.copy(path, path.with_name("other.h5"))
        with h5py.File(path, "r+") as file:
            del file[key]
            file[key] = link

    return breaker


def a_folder(path):
    path.unlink()
    path.mkdir()


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damaged(path):
    with h5py.File(path) as file:
        place = file["stimulus_train"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + place.size] = b"\xff" * place.size
    path.write_bytes(content)


def stored_outside(path):
    with h5py.File(path, "r+") as file:
        del file["spikes_val"]
        other = path.with_name("other.bin")
        other.write_bytes(bytes(72))
        file.create_dataset("spikes_val", (6, 3), "f4", external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def virtual(path):
    layout = h5py.VirtualLayout((6, 3), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "spikes_val", (6, 3))
    with h5py.File(path, "r+") as file:
        del file["spikes_val"]
        file.create_virtual_dataset("spikes_val", layout)


def a_group(path):
    with h5py.File(path, "r+") as file:
        del file["object_val"]
        file.create_group("object_val")


def repeats_of(shape, value=0.0):
    def breaker(path):
        with h5py.File(path, "r+") as file:
            file["spikes_val_repeats"] = np.full(shape, value, np.float32)

    return breaker


# name: (what breaks a good file, the key to be named if one is at fault, a word of the reason)
BROKEN = {
    "missing file": (Path.unlink, None, "no such file"),
    "not HDF5": (lambda path: path.write_text("neuron,rate\n1,2\n"), None, "not an HDF5 file"),
    "empty file": (lambda path: path.write_bytes(b""), None, "not an HDF5 file"),
    "truncated": (truncated, None, "truncated"),
    "damaged inside": (damaged, None, "damaged"),
    "folder": (a_folder, None, "folder"),
    **{f"{key} missing": (without(key), key, "missing") for key in KEYS},
    "group for an array": (a_group, "object_val", "group"),
    "images of rank 3": (changed("stimulus_val", lambda x: x[:, 0]), "stimulus_val", "4 dimensions"),
    "responses of rank 1": (changed("spikes_train", lambda r: r[:, 0]), "spikes_train", "2 dimensions"),
    "objects of rank 2": (changed("object_val", lambda o: o[:, None]), "object_val", "1 dimension."),
    "channels last": (of_all_images(lambda x: np.moveaxis(x, 1, 3)), "stimulus_train", "channels last"),
    "one channel": (of_all_images(lambda x: x[:, :1]), "stimulus_train", "(n_images, 3, height, width)"),
    "tiny images": (of_all_images(lambda x: x[..., :4]), "stimulus_train", "at least 8"),
    "other image size in val": (changed("stimulus_val", lambda x: x[..., :10]), "stimulus_val", "(12, 12)"),
    "other number of responses": (changed("spikes_val", lambda r: r[:-1]), "spikes_val", "expected 6"),
    "other number of objects": (changed("object_test", lambda o: o[:-1]), "object_test", "expected 4"),
    "other number of neurons": (changed("spikes_val", lambda r: r[:, :2]), "spikes_val", "expected 3"),
    "one neuron": (changed("spikes_train", lambda r: r[:, :1]), "spikes_train", "two or more"),
    "text for responses": (changed("spikes_train", lambda r: r.astype("S")), "spikes_train", "text"),
    "text for images": (changed("stimulus_test", lambda x: x.astype("S")), "stimulus_test", "text"),
    "complex responses": (changed("spikes_val", lambda r: r * 1j), "spikes_val", "complex"),
    "numbers for objects": (changed("object_train", lambda o: np.arange(len(o))), "object_train", "int64"),
    "NaN response": (element("spikes_train", (3, 1), np.nan), "spikes_train", "image 3, neuron 1"),
    "infinite response": (element("spikes_val", (2, 0), np.inf), "spikes_val", "image 2, neuron 0"),
    "too large for float32": (
        changed("spikes_val", lambda r: r.astype(float) * 1e300),
        "spikes_val",
        "infinity 18 times",
    ),
    "NaN pixel": (element("stimulus_val", (5, 1, 2, 3), np.nan), "stimulus_val", "image 5"),
    "infinite pixel": (element("stimulus_train", (17, 0, 0, 0), -np.inf), "stimulus_train", "image 17"),
    "constant neuron": (element("spikes_train", (slice(None), 2), 4.0), "spikes_train", "column 2"),
    "raw images 0-1": (of_all_images(raw), "stimulus_train", "0 to 1"),
    "raw images 0-1, val only": (changed("stimulus_val", raw), "stimulus_val", "0 to 1"),
    "raw images 0-255": (of_all_images(lambda x: np.rint(raw(x) * 255)), "stimulus_train", "0 to 255"),
    "raw uint8 images": (of_all_images(lambda x: (raw(x) * 255).astype("u1")), "stimulus_train", "0 to 255"),
    "normalised twice": (of_all_images(lambda x: (x - MEAN) / SD), "stimulus_train", "twice"),
    "scaled to -1..1": (of_all_images(lambda x: raw(x) * 2 - 1), "stimulus_train", "-1 to 1"),
    "other constants": (of_all_images(lambda x: (raw(x) - 0.45) / 0.3), "stimulus_train", "other constants"),
    "unknown scale": (of_all_images(lambda x: x * 2), "stimulus_train", "unknown scale"),
    "empty train": (changed("stimulus_train", lambda x: x[:0]), "stimulus_train", "0 images"),
    "empty test": (changed("stimulus_test", lambda x: x[:0]), "stimulus_test", "0 images"),
    "one val image": (changed("stimulus_val", lambda x: x[:1]), "stimulus_val", "2 or more"),
    "repeats of other neurons": (repeats_of((6, 4, 2)), "spikes_val_repeats", "(6, n_repeats, 3)"),
    "repeats of rank 2": (repeats_of((6, 3)), "spikes_val_repeats", "3 dimensions"),
    "infinite repeat": (repeats_of((6, 4, 3), np.inf), "spikes_val_repeats", "infinity"),
    "external link": (linked("spikes_val", h5py.ExternalLink("other.h5", "spikes_val")), "spikes_val", "external link"),
    "dangling link": (linked("spikes_val", h5py.SoftLink("/nowhere")), "spikes_val", "dangling"),
    "external storage": (stored_outside, "spikes_val", "other files"),
    "virtual data set": (virtual, "spikes_val", "other files"),
}


def provoke(folder, name, read):
    """The DataError of reading that broken file, after checking that reading changed nothing."""
    path = folder / "lab_data.h5"
    write_file(path, kind="colour" if name == "raw images 0-1" else "gray")
    BROKEN[name][0](path)
    before = _contents(folder)
    with pytest.raises(DataError) as error:
        read(path)
    assert _contents(folder) == before
    return str(error.value)


def _contents(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_one_sentence(sentence, path):
    assert sentence.startswith(f"{path}: ") and sentence.endswith(".") and "\n" not in sentence
    assert ". " not in sentence.removeprefix(str(path)) and len(sentence.removeprefix(str(path))) < 300


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file(tmp_path, name):
    _, key, reason = BROKEN[name]
    for read in (datasets.load, datasets.check):
        (folder := tmp_path / read.__name__).mkdir()
        sentence = provoke(folder, name, read)
        assert_one_sentence(sentence, folder / "lab_data.h5")
        assert (key or "") in sentence and reason in sentence


def split_duplicated(path):
    with h5py.File(path, "r+") as file:
        file["stimulus_val"][2] = file["stimulus_train"][5]


# name: (what makes a good file doubtful, the warning)
DOUBTFUL = {
    "duplicated images": (split_duplicated, "1 image in both stimulus_train and stimulus_val"),
    "object only in val": (element("object_val", 3, b"pen"), "object_val has 1 object that object_train lacks: pen"),
    "constant in val": (element("spikes_val", (slice(None), 1), 0), "spikes_val has 1 constant neuron"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_file_is_read_with_a_warning(tmp_path, name):
    change, expected = DOUBTFUL[name]
    write_file(tmp_path / "lab_data.h5")
    change(tmp_path / "lab_data.h5")
    with pytest.warns(UserWarning, match=expected) as caught:
        datasets.load(tmp_path / "lab_data.h5")
    assert len(caught) == 1 and str(caught[0].message).startswith(str(tmp_path / "lab_data.h5"))
    assert f"warning: {expected}" in datasets.check(tmp_path / "lab_data.h5")


def cell(row, column, value):
    def change(rows, _):
        rows[row][column] = value

    return change


def other_size(rows, folder):
    Image.new("RGB", (9, 30)).save(folder / "4.png")


def transparent(rows, folder):
    Image.new("RGBA", (16, 16)).save(folder / "4.png")


def not_an_image(rows, folder):
    (folder / "4.png").write_text("nothing to see")


def constant(rows, _):
    for row in rows[1:]:
        row[2] = 1


# name: (what breaks a good table or its images, whether an image is at fault, a word of the reason)
BAD_RECORDINGS = {
    "image missing": (cell(3, 0, "nowhere.png"), False, "nowhere.png"),
    "text for a response": (cell(2, 3, "high"), False, "line 3, column b holds 'high'"),
    "no response": (cell(2, 3, ""), False, "line 3, column b holds ''"),
    "infinite response": (cell(2, 2, "inf"), False, "line 3, column a holds 'inf'"),
    "file named twice": (cell(3, 0, "0.png"), False, "'0.png' more than once"),
    "no file column": (cell(0, 0, "picture"), False, "expected one called file"),
    "column without a name": (cell(0, 1, ""), False, "without a name"),
    "two columns of a name": (cell(0, 2, "b"), False, "same name"),
    "one neuron": (lambda rows, _: [row.pop() for row in rows], False, "1 column of neurons"),
    "short row": (lambda rows, _: rows[4].pop(), False, "line 5 has 3 cells; expected 4"),
    "too few rows": (lambda rows, _: rows.__delitem__(slice(4, None)), False, "3 rows"),
    "empty table": (lambda rows, _: rows.clear(), False, "expected one called file"),
    "unknown split": (cell(0, 1, "split"), False, "expected train, val and test"),
    "object not latin-1": (cell(1, 1, "杯"), False, "latin-1"),
    "other size": (other_size, True, "30 x 9 pixels"),
    "transparent image": (transparent, True, "mode RGBA"),
    "not an image": (not_an_image, True, "cannot be read as an image"),
    "constant neuron": (constant, False, "column a is constant"),
}


def provoke_pack(folder, name):
    """The DataError of packing those recordings, after checking that nothing was written."""
    (images := folder / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = [["file", "object", "a", "b"]] + [[f"{i}.png", "mug", *rng.normal(size=2)] for i in range(12)]
    for row in rows[1:]:
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(images / row[0])
    BAD_RECORDINGS[name][0](rows, images)
    with open(folder / "table.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    before = _contents(folder)
    with pytest.raises(DataError) as error:
        acquire.pack(images, folder / "table.csv", folder / "own.h5")
    assert _contents(folder) == before
    return str(error.value)


@pytest.mark.parametrize("name", BAD_RECORDINGS)
def test_bad_recordings(tmp_path, name):
    _, image_at_fault, reason = BAD_RECORDINGS[name]
    sentence = provoke_pack(tmp_path, name)
    assert_one_sentence(sentence, tmp_path / ("images/4.png" if image_at_fault else "table.csv"))
    assert reason in sentence


def test_pack_leaves_an_existing_file_alone(tmp_path):
    (tmp_path / "own.h5").write_text("mine")
    (tmp_path / "table.csv").write_text("file,a,b\n" + "".join(f"{i}.png,{i},{-i}\n" for i in range(9)))
    with pytest.raises(DataError, match=r"own.h5: exists already"):
        acquire.pack(tmp_path, tmp_path / "table.csv", tmp_path / "own.h5")
    assert (tmp_path / "own.h5").read_text() == "mine"


def messages():
    """Print what each broken input is answered."""
    for names, answer in (
        (BROKEN, lambda folder, name: provoke(folder, name, datasets.load)),
        (BAD_RECORDINGS, provoke_pack),
    ):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                print(f"{name:>26}  {answer(Path(folder), name).replace(folder, '...')}")


if __name__ == "__main__":
    messages()
