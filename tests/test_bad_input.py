"""Broken input ends in one clear sentence that names the file, and changes nothing on disk.

A damaged cache is mended with a warning; a folder that cannot be written is named before any work.
`python tests/test_bad_input.py` prints every case and what it is answered.
"""

import contextlib
import csv
import io
import shutil
import subprocess
import sys
import tempfile
import textwrap
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from test_datasets import MEAN, SD, write_file

from helpers import cache, datasets, notebook
from helpers.__main__ import main
from helpers.analyses import frozen_networks, layer_profile
from helpers.datasets import describe, pack
from helpers.datasets.hdf5 import DataError
from helpers.datasets.simulated import standin
from helpers.experiments import profiles, runs, search
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0

KEYS = [f"{kind}_{split}" for kind in ("stimulus", "object") for split in ("train", "val", "test")]
KEYS += ["spikes_train", "spikes_val"]


def edited(change):
    """What opens a file and rewrites it as change(file) does."""

    def breaker(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return breaker


def changed(key, change):
    """What rewrites one array of a file as change(array)."""

    @edited
    def breaker(file):
        values = file[key][()]
        del file[key]
        file[key] = change(values)

    return breaker


def without(key):
    return edited(lambda file: file.pop(key))


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


def resized(x):
    """Colour images between whole 255ths, as interpolation leaves them."""
    colour = np.stack([np.roll(raw(x)[:, 0], shift, axis=1) for shift in range(3)], axis=1)
    return (colour + 0.37 * np.roll(colour, 1, axis=3)) / 1.37


@edited
def of_matlab(file):
    file["stimulus_train"].attrs["MATLAB_class"] = np.bytes_("single")


@edited
def declared(file):
    file.attrs["image_mean"] = file.attrs["image_sd"] = [0.5, 0.5]


@edited
def with_animals(file):
    file["neurons/animal"] = [b"Tito", b"Chabo"]


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


def cut_short(path):
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
        other.write_bytes(bytes(120))
        file.create_dataset("spikes_val", (10, 3), "f4", external=[(str(other), 0, h5py.h5f.UNLIMITED)])


@edited
def virtual(file):
    layout = h5py.VirtualLayout((10, 3), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "spikes_val", (10, 3))
    del file["spikes_val"]
    file.create_virtual_dataset("spikes_val", layout)


@edited
def a_group(file):
    del file["object_val"]
    file.create_group("object_val")


def foreign_filter(path):
    """Packed by lzf, under the number of a filter that is not there."""
    with h5py.File(path, "r+") as file:
        del file["spikes_val"]
        file.create_dataset("spikes_val", data=np.tile([[0, 1, 2]], (10, 1)), chunks=(10, 3), compression="lzf")
    content = path.read_bytes()
    place = content.rindex(b"\x00\x7d", 0, content.index(b"lzf"))
    path.write_bytes(content[:place] + b"\x01\x7d" + content[place + 2 :])


def repeats_of(shape, value=0.0):
    return edited(lambda file: file.create_dataset("spikes_val_repeats", data=np.full(shape, value, np.float32)))


# name: (what breaks a good file, the key to be named if one is at fault, a word of the reason)
BROKEN = {
    "missing file": (Path.unlink, None, "no such file"),
    "not HDF5": (lambda path: path.write_text("neuron,rate\n1,2\n"), None, "not an HDF5 file"),
    "empty file": (lambda path: path.write_bytes(b""), None, "not an HDF5 file"),
    "truncated": (cut_short, None, "truncated"),
    "damaged inside": (damaged, None, "damaged"),
    "foreign filter": (foreign_filter, None, "compression filter"),
    "folder": (a_folder, None, "folder"),
    **{f"{key} missing": (without(key), key, "missing") for key in KEYS},
    "group for an array": (a_group, "object_val", "group"),
    "images of rank 2": (changed("stimulus_val", lambda x: x[:, 0, 0]), "stimulus_val", "3 or 4 dimensions"),
    "one channel in val": (changed("stimulus_val", lambda x: x[:, :1]), "stimulus_val", "(10, 3, 12, 12)"),
    "responses of rank 1": (changed("spikes_train", lambda r: r[:, 0]), "spikes_train", "2 dimensions"),
    "objects of rank 2": (changed("object_val", lambda o: o[:, None]), "object_val", "1 dimension."),
    "channels last": (of_all_images(lambda x: np.moveaxis(x, 1, 3)), "stimulus_train", "channels last"),
    "two channels": (of_all_images(lambda x: x[:, :2]), "stimulus_train", "(n_images, 1 or 3, height, width)"),
    "tiny images": (of_all_images(lambda x: x[..., :4]), "stimulus_train", "at least 8"),
    "other image size in val": (changed("stimulus_val", lambda x: x[..., :10]), "stimulus_val", "(10, 3, 12, 12)"),
    "other number of responses": (changed("spikes_val", lambda r: r[:-1]), "spikes_val", "expected (10, 3)"),
    "other number of objects": (changed("object_test", lambda o: o[:-1]), "object_test", "expected (4,)"),
    "other number of neurons": (changed("spikes_val", lambda r: r[:, :2]), "spikes_val", "expected (10, 3)"),
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
        "infinity 30 times",
    ),
    "NaN pixel": (element("stimulus_val", (5, 1, 2, 3), np.nan), "stimulus_val", "image 5"),
    "infinite pixel": (element("stimulus_train", (17, 0, 0, 0), -np.inf), "stimulus_train", "image 17"),
    "constant neuron": (element("spikes_train", (slice(None), 2), 4.0), "spikes_train", "column 2"),
    "raw images 0-1, val only": (changed("stimulus_val", raw), "stimulus_val", "0 to 1"),
    "raw images 0-1, resized": (of_all_images(resized), "stimulus_train", "cannot be told"),
    "colour images, resized": (of_all_images(lambda x: (resized(x) - MEAN) / SD), "stimulus_train", "data declare"),
    "uint8 of 0 and 1": (of_all_images(lambda x: (raw(x) > 0.5).astype("u1")), "stimulus_train", "next to one gray"),
    "raw uint16 images": (of_all_images(lambda x: (raw(x) * 65535).astype("u2")), "stimulus_train", "cannot be told"),
    "normalised twice": (of_all_images(lambda x: (x - MEAN) / SD), "stimulus_train", "twice"),
    "other constants": (of_all_images(lambda x: (raw(x) - 0.45) / 0.3), "stimulus_train", "cannot be told"),
    "unknown scale": (of_all_images(lambda x: x * 2), "stimulus_train", "cannot be told"),
    "one image off the range": (element("stimulus_val", 5, 9.0), "stimulus_val", "0 to 1, at most 2 % beyond"),
    "saved by MATLAB": (of_matlab, "stimulus_train", "MATLAB"),
    "declared by two numbers": (declared, "image_mean and image_sd", "three numbers"),
    "short list of animals": (with_animals, "neurons/animal", "expected 3"),
    "empty train": (changed("stimulus_train", lambda x: x[:0]), "stimulus_train", "0 images"),
    "empty test": (changed("stimulus_test", lambda x: x[:0]), "stimulus_test", "0 images"),
    "one val image": (changed("stimulus_val", lambda x: x[:1]), "stimulus_val", "2 or more"),
    "repeats of other neurons": (repeats_of((10, 4, 2)), "spikes_val_repeats", "(10, 4, 3)"),
    "repeats of rank 2": (repeats_of((10, 3)), "spikes_val_repeats", "3 dimensions"),
    "infinite repeat": (repeats_of((10, 4, 3), np.inf), "spikes_val_repeats", "infinity"),
    "external link": (linked("spikes_val", h5py.ExternalLink("other.h5", "spikes_val")), "spikes_val", "external link"),
    "dangling link": (linked("spikes_val", h5py.SoftLink("/nowhere")), "spikes_val", "dangling"),
    "external storage": (stored_outside, "spikes_val", "other files"),
    "virtual data set": (virtual, "spikes_val", "other files"),
}


def provoke(folder, name, read):
    """The DataError of reading that broken file, after checking that reading changed nothing."""
    path = folder / "lab_data.h5"
    write_file(path)
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
def test_broken_file(tmp_path, name, capsys):
    _, key, reason = BROKEN[name]
    for read in (datasets.load, describe.check):
        (folder := tmp_path / read.__name__).mkdir()
        sentence = provoke(folder, name, read)
        assert_one_sentence(sentence, folder / "lab_data.h5")
        assert (key or "") in sentence and reason in sentence
    assert main(["data", "check", str(tmp_path / "check" / "lab_data.h5")]) == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"


def test_a_file_that_another_program_writes_is_called_locked(tmp_path):
    write_file(tmp_path / "lab_data.h5")
    script = f"import h5py; file = h5py.File({str(tmp_path / 'lab_data.h5')!r}, 'r+'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(DataError, match=r"lab_data.h5: is locked by another program") as error:
            datasets.load(tmp_path / "lab_data.h5")
        other.communicate(b"\n")
    assert_one_sentence(str(error.value), tmp_path / "lab_data.h5")


def test_a_file_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    write_file(tmp_path / "lab_data.h5")
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(DataError, match=r"lab_data.h5: cannot be read \(no permission\)"):
        datasets.load(tmp_path / "lab_data.h5")


FULL_DISK = """
import resource, sys
from pathlib import Path
from helpers.datasets import pack
from helpers.datasets.formats import whole
from helpers.datasets.hdf5 import DataError
from helpers.datasets.simulated import standin

def said(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except DataError as error:
        print(error)

folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
said(standin.write, folder / "standin.h5", n_images=(40, 12, 4), pixels=16, n_trials=2)
said(pack.pack, [folder / "own.npz"], folder / "own.h5")
said(whole.declare, folder / "lab_data.h5", ["0.5", "0.5"])
"""


def test_a_disk_that_fills_leaves_nothing_half_written_and_crashes_nothing(tmp_path, generator):
    """By a limit on the sizes of files: HDF5 crashes at the end of a process in which a write has failed."""
    write_file(tmp_path / "lab_data.h5")
    images, responses = generator.integers(0, 256, (30, 40, 40), dtype=np.uint8), generator.normal(size=(30, 2))
    np.savez(tmp_path / "own.npz", images=images, responses=responses)
    before = _contents(tmp_path)
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=cache.ROOT)
    assert done.returncode == 0, done.stderr
    sentences = [line for line in done.stdout.splitlines() if "cannot be written" in line]
    for sentence, name in zip(sentences, ("standin.h5", "own.h5", "lab_data.h5"), strict=True):
        assert_one_sentence(sentence, tmp_path / name)
        assert "File too large" in sentence
    assert _contents(tmp_path) == before


# constants: what `data declare` answers, of colour images that were resized
UNDECLARED = {
    "a b": "a b: no such constants; expected imagenet, clip, half, none, bytes",
    "0.5": "no such constants",
    "0.5 0": "sd above 0",
    "nan 1": "three numbers",
    "3 4": "expected 0 to 1",
    "bytes": "next to one gray",
}


@pytest.mark.parametrize("constants", UNDECLARED)
def test_constants_that_cannot_be_are_not_declared(tmp_path, constants, capsys):
    write_file(tmp_path / "lab_data.h5")
    of_all_images(resized)(tmp_path / "lab_data.h5")
    before = _contents(tmp_path)
    assert main(["data", "declare", str(tmp_path / "lab_data.h5"), *constants.split()]) == 2
    said = capsys.readouterr().err
    assert UNDECLARED[constants] in said and said.count("\n") == 1 and _contents(tmp_path) == before


@edited
def split_duplicated(file):
    file["stimulus_val"][2] = file["stimulus_train"][5]


@edited
def shuffled_repeats(file):
    file["spikes_val_repeats"] = np.repeat(file["spikes_val"][()][::-1][:, None], 3, axis=1)


@edited
def shuffled_training(file):
    file["spikes_train_repeats"] = np.repeat(file["spikes_train"][()][::-1][:, None], 2, axis=1)


@edited
def zeros_for_missing(file):
    repeats = np.repeat(file["spikes_val"][()][:, None], 3, axis=1)
    repeats[:5, 1:] = 0
    file["spikes_val_repeats"] = repeats


@edited
def one_trial_each(file):
    file["spikes_val_repeats"] = file["spikes_val"][()][:, None]


def few_val(path):
    for key in ("stimulus_val", "object_val", "spikes_val"):
        changed(key, lambda x: x[:9])(path)


# name: (what makes a good file doubtful, the warning)
DOUBTFUL = {
    "repeats in another order": (shuffled_repeats, "the mean of spikes_val_repeats is not spikes_val (correlation "),
    "zeros for missing trials": (zeros_for_missing, "the mean of spikes_val_repeats is not spikes_val (correlation "),
    "training repeats in another order": (
        shuffled_training,
        "the mean of spikes_train_repeats is not spikes_train (cor",
    ),
    "one repeat per image": (one_trial_each, "spikes_val_repeats has one trial per image"),
    "nine val images": (few_val, "only 9 val images"),
    "duplicated images": (split_duplicated, "1 image in both stimulus_train and stimulus_val"),
    "object only in val": (element("object_val", 3, b"pen"), "object_val has 1 object that object_train lacks: pen"),
    "constant in val": (element("spikes_val", (slice(None), 1), 0), "spikes_val has 1 constant neuron"),
}


def doubt(folder, name):
    """The warning of reading that doubtful file."""
    write_file(folder / "lab_data.h5")
    DOUBTFUL[name][0](folder / "lab_data.h5")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        datasets.load(folder / "lab_data.h5")
    (warning,) = caught
    return str(warning.message)


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_file_is_read_with_a_warning(tmp_path, name):
    _, expected = DOUBTFUL[name]
    assert doubt(tmp_path, name).startswith(f"{tmp_path / 'lab_data.h5'}: {expected}")
    assert f"warning: {expected}" in describe.check(tmp_path / "lab_data.h5")


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


def two_objects(rows, _):
    rows[3][:2] = ["0.png", "pen"]


def sixteen_bits(rows, folder):
    Image.fromarray(np.full((16, 16), 4095, np.uint16)).save(folder / "4.png")


def counting(rows, _):
    for i, row in enumerate(rows):
        row.append(i if i else "c")


def counting_down(rows, _):
    for i, row in enumerate(rows):
        row.append(-2 * i if i else "c")


def whole_numbers(rows, _):
    for i, row in enumerate(rows):
        row.append(i % 3 if i else "block")


def two_frames(rows, folder):
    frames = [Image.new("L", (16, 16), level) for level in (0, 99)]
    frames[0].save(folder / "4.png", save_all=True, append_images=frames[1:])


def image_cut_short(rows, folder):
    cut_short(folder / "4.png")


def with_position(rows, _):
    for row in rows:
        row.append("pos_x" if row[0] == "file" else 0.5)


def tailed(rows, _):
    for row in rows[1:]:
        row[2] = f"{row[2]:.2f}".replace(".", ",")


# name: (what breaks a good table or its images, whether an image is at fault, a word of the reason)
BAD_RECORDINGS = {
    "image missing": (cell(3, 0, "nowhere.png"), False, "nowhere.png"),
    "text for a response": (cell(2, 3, "high"), False, "line 3, column b holds 'high'"),
    "no response": (cell(2, 3, ""), False, "line 3, column b holds ''"),
    "infinite response": (cell(2, 2, "inf"), False, "line 3, column a holds 'inf'"),
    "image of two objects": (two_objects, False, "more than one object"),
    "no file column": (cell(0, 0, "picture"), False, "expected one called file"),
    "column without a name": (cell(0, 1, ""), False, "without a name"),
    "two columns of a name": (cell(0, 2, "b"), False, "same name"),
    "one neuron": (lambda rows, _: [row.pop() for row in rows], False, "1 column of neurons"),
    "short row": (lambda rows, _: rows[4].pop(), False, "line 5 has 3 cells; expected 4"),
    "too few rows": (lambda rows, _: rows.__delitem__(slice(4, None)), False, "3 images"),
    "empty table": (lambda rows, _: rows.clear(), False, "expected one called file"),
    "unknown split": (cell(0, 1, "split"), False, "expected train, val and test"),
    "object not latin-1": (cell(1, 1, "杯"), False, "latin-1"),
    "other size": (other_size, True, "30 x 9 pixels"),
    "transparent image": (transparent, True, "mode RGBA"),
    "not an image": (not_an_image, True, "cannot be read as an image"),
    "16 bits a channel": (sixteen_bits, True, "16 bits"),
    "two frames": (two_frames, True, "has 2 frames"),
    "image cut short": (image_cut_short, True, "truncated"),
    "column that counts": (counting, False, "1 column not like neurons, 'c'; expected only neurons, or --neurons"),
    "whole numbers beside others": (whole_numbers, False, "'block'"),
    "column that counts down by two": (counting_down, False, "'c'"),
    "name of an id": (cell(0, 2, "imageId"), False, "'imageId'"),
    "column of a position": (with_position, False, "'pos_x'"),
    "decimal commas between commas": (tailed, False, "a finite number with a point"),
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
        pack.pack([images, folder / "table.csv"], folder / "own.h5")
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
    (tmp_path / "table.csv").write_text("file,a,b\n" + "".join(f"{i}.png,{i % 5},{-i}\n" for i in range(9)))
    with pytest.raises(DataError, match=r"own.h5: exists already"):
        pack.pack([tmp_path, tmp_path / "table.csv"], tmp_path / "own.h5")
    assert (tmp_path / "own.h5").read_text() == "mine"


TINY = profiles.PROFILES["tiny"]


def shallow(dataset):
    return [runs.run(EXPERIMENTS["shallow-published"], dataset, TINY).val]


def gram_matrices(dataset):
    return list(layer_profile.kernels(LITE0, dataset, TINY)[0].values())


def readouts(dataset):
    with pytest.MonkeyPatch.context() as patch:  # of all readouts the one that needs no network
        patch.setattr(frozen_networks, "specs", lambda *_: {"pixels": frozen_networks.RowSpec(None)})
        return [row.val for row in frozen_networks.rows(dataset, TINY).values()]


def one_trial(dataset):
    return [search.search(dataset, TINY, n_trials=1).best_value]


def overwritten(path):
    path.write_bytes(b"\xff" * path.stat().st_size)


def emptied(path):
    path.write_bytes(b"")


# name: (what makes the file, the file, what damages it)
DAMAGED = {
    "result cut short": (shallow, "shallow-published/*/result.json", cut_short),
    "result overwritten": (shallow, "shallow-published/*/result.json", overwritten),
    "predictions cut short": (shallow, "shallow-published/*/predictions.npz", cut_short),
    "weights cut short": (shallow, "shallow-published/*/weights.safetensors", cut_short),
    "weights missing": (shallow, "shallow-published/*/weights.safetensors", Path.unlink),
    "Gram matrix cut short": (gram_matrices, f"{LITE0}/kernels-pretrained-32x32-*/00-blocks*.npy", cut_short),
    "Gram matrix overwritten": (gram_matrices, f"{LITE0}/kernels-pretrained-32x32-*/00-blocks*.npy", overwritten),
    "Gram matrix emptied": (gram_matrices, f"{LITE0}/kernels-pretrained-32x32-*/01-*.npy", emptied),
    "readout cut short": (readouts, "readouts/pixels-*/predictions.npz", cut_short),
    "search cut short": (one_trial, "../search.journal", cut_short),
    "search overwritten": (one_trial, "../search.journal", overwritten),
}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A folder of runs in which everything that DAMAGED makes is found, and what it holds."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IT_RUNS", str(folder))
        return folder, {make: make(tiny) for make in (shallow, gram_matrices, readouts, one_trial)}


def damage(folder, name, dataset):
    """The warning of using that damaged cache, in a folder of finished runs, and the results made again."""
    make, pattern, breaker = DAMAGED[name]
    (path,) = (folder / dataset.name).glob(pattern)
    breaker(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = make(dataset)
    (warning,) = (w for w in caught if w.category is UserWarning)  # numpy leaves a damaged file open, and is told so
    return str(warning.message), made


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_cache_is_set_aside_and_made_again(tmp_path, name, tiny, finished, monkeypatch):
    folder, expected = finished
    monkeypatch.setenv("IT_RUNS", str(shutil.copytree(folder, tmp_path / "runs")))
    warning, made = damage(tmp_path / "runs", name, tiny)
    make = DAMAGED[name][0]
    assert warning.startswith(str(tmp_path)) and "is damaged" in warning and "made again" in warning
    assert all(np.array_equal(*pair) for pair in zip(made, expected[make], strict=True))
    assert list((tmp_path / "runs").rglob("*.damaged"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(tiny)  # whole again


# name: (variable that names the folder, place within a folder that holds the text file "file", command)
UNWRITABLE = {
    "cache is a file": ("IT_RUNS", "file", ["run", "shallow-published", "--profile", "tiny", "--data"]),
    "cache below a file": (
        "IT_RUNS",
        "file/runs",
        ["run", "lite0-bi-objective-repaired", "--profile", "tiny", "--data"],
    ),
    "cache of a search": ("IT_RUNS", "file", ["search", "--profile", "tiny", "--data"]),
    "cache of a report": ("IT_RUNS", "file/runs", ["report", "--profile", "tiny", "--data"]),
    "stand-in below a file": (None, "file/standin.h5", ["data", "standin", "--full"]),
}


def refuse(folder, name, data_file, patch):
    """What the command line prints on stdout and stderr when that folder cannot be written."""
    variable, place, command = UNWRITABLE[name]
    (folder / "file").write_text("mine")
    if variable:
        patch.setenv(variable, str(folder / place))
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert main([*command, str(data_file if variable else folder / place)]) == 2
    assert (folder / "file").read_text() == "mine"
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize("name", UNWRITABLE)
def test_unwritable_folder_is_named_before_any_work(tmp_path, name, tiny_file, monkeypatch):
    out, err = refuse(tmp_path, name, tiny_file, monkeypatch)
    assert err.startswith("error: ") and err.count("\n") == 1 and str(tmp_path / "file") in err
    assert ": epoch" not in out and "trial" not in out


def test_unwritable_output_folder_is_named(tmp_path, tiny, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("IT_OUT", str(tmp_path / "file"))
    with pytest.raises(OSError, match=rf"^{tmp_path}/file: cannot be written .*expected \$IT_OUT to name a folder"):
        notebook.output_folder(tiny.path)


def test_finished_runs_are_read_where_nothing_can_be_written(tiny, finished, monkeypatch):
    folder, expected = finished
    monkeypatch.setenv("IT_RUNS", str(folder))
    monkeypatch.setattr(cache, "make_writable", lambda *_: pytest.fail("not needed"))
    for make in (shallow, gram_matrices, readouts):
        assert all(np.array_equal(*pair) for pair in zip(make(tiny), expected[make], strict=True))


def messages():
    """Print what each broken input is answered."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        data_file = standin.write(Path(folder) / "tiny.h5", n_images=(96, 32, 32), pixels=32, n_trials=6)
        tiny = datasets.load(data_file)
        patch.setenv("IT_RUNS", str(Path(folder) / "finished"))
        with contextlib.redirect_stdout(io.StringIO()):
            for make in {make: None for make, *_ in DAMAGED.values()}:
                make(tiny)

        def damaged(place, name):
            patch.setenv("IT_RUNS", str(shutil.copytree(Path(folder) / "finished", place / "runs")))
            with contextlib.redirect_stdout(io.StringIO()):
                return damage(place / "runs", name, tiny)[0]

        for title, names, answer in (
            ("Data files that are refused", BROKEN, lambda place, name: provoke(place, name, datasets.load)),
            ("Recordings that are not packed", BAD_RECORDINGS, provoke_pack),
            ("Folders that cannot be written", UNWRITABLE, lambda *case: refuse(*case, data_file, patch)[1].strip()),
            ("Data files that are read with a warning", DOUBTFUL, doubt),
            ("Damaged caches, made again with a warning", DAMAGED, damaged),
        ):
            print(f"\n{title} ({len(names)})\n")
            for i, name in enumerate(names):
                (place := Path(folder) / f"{title} {i}").mkdir()
                said = answer(place, name).replace(str(place), "...")
                print(textwrap.fill(f"{name:<26}  {said}", 118, subsequent_indent=" " * 28, break_on_hyphens=False))


if __name__ == "__main__":
    messages()
