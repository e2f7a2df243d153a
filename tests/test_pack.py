"""Own recordings packed into data files: tables, presentations, arrays, BrainIO assemblies."""

import csv
import unicodedata

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from test_sources import CSV, NC, SHARED, ZIP, make_store

from helpers import datasets
from helpers.__main__ import main
from helpers.datasets import pack
from helpers.datasets.formats.brainio import read_assembly
from helpers.datasets.formats.recordings import open_image
from helpers.datasets.hdf5 import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*val images, too few")


def _recordings(folder, *, n_images=30, n_neurons=4, size=(20, 14), mode="RGB", **columns):
    """A folder of images and the rows (a header first) of a table of responses."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows = [["file", *columns, *(f"unit {i}" for i in range(n_neurons))]]
    for i in range(n_images):
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i}.png")
        responses = rng.normal(size=n_neurons).round(3).tolist()
        rows.append([f"{i}.png", *(values[i] for values in columns.values()), *responses])
    return rows


def _write_table(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_pack(tmp_path):
    rows = _recordings(tmp_path / "images", object=["mug", "pen", "face0"] * 10)
    table = _write_table(tmp_path / "table.csv", rows)
    out = pack.pack([tmp_path / "images", table], tmp_path / "own.h5")
    dataset = datasets.load(out)
    assert dataset.images.shape == (30, 3, 14, 20) and dataset.images.dtype == np.uint8 and dataset.n_neurons == 4
    assert [len(split.images) for split in (dataset.train, dataset.val, dataset.test)] == [24, 3, 3]
    assert set(dataset.val.objects) == set(dataset.test.objects) == {"mug", "pen", "face0"}
    with h5py.File(out) as file:
        names = [name.decode() for name in file["images_train/file"]]
        assert sorted(
            names + [name.decode() for key in ("images_val/file", "images_test/file") for name in file[key]]
        ) == sorted(row[0] for row in rows[1:])
    row_of = {row[0]: row for row in rows[1:]}
    for i, name in enumerate(names):
        np.testing.assert_array_equal(
            dataset.train.images[i].transpose(1, 2, 0), Image.open(tmp_path / "images" / name)
        )
        np.testing.assert_allclose(dataset.train.responses[i], row_of[name][2:], rtol=1e-6)
        assert dataset.train.objects[i] == row_of[name][1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "own.h5", "table.csv"]


def test_pack_with_own_split_sizes_and_no_objects(tmp_path):
    splits = ["train"] * 10 + ["val"] * 3 + ["test"] * 2
    rows = _recordings(tmp_path / "images", n_images=15, mode="L", split=splits)
    for row in rows[-2:]:
        row[2:] = [""] * 4
    Image.new("L", (40, 28), 77).save(tmp_path / "images" / "0.png")
    table = _write_table(tmp_path / "table.csv", rows)
    dataset = datasets.load(pack.pack([tmp_path / "images", table], tmp_path / "own.h5", pixels=16))
    assert dataset.images.shape == (15, 1, 11, 16)
    assert dataset.object_names == ["unknown"] and len(dataset.test.images) == 2
    assert (dataset.train.images[0] == 77).all()


def _presentations(rows, rng):
    """Three noisy presentations of every image in a shuffled order, and the rows that made them."""
    shown = [[row[0], row[1], *(np.array(row[2:]) + rng.normal(size=4)).round(3).tolist()] for row in rows[1:] * 3]
    return [shown[i] for i in rng.permutation(len(shown))]


def test_pack_averages_presentations_and_keeps_those_of_val(tmp_path, generator):
    rows = _recordings(tmp_path / "images", object=["mug", "pen", "face0"] * 10)
    shown = _presentations(rows, generator)
    table = _write_table(tmp_path / "table.csv", [rows[0], *shown, [*rows[1][:2], 1, 2, 3, 4]])  # one image four times
    out = pack.pack([tmp_path / "images", table], tmp_path / "own.h5")
    dataset = datasets.load(out)
    frame = pd.DataFrame([*shown, [*rows[1][:2], 1, 2, 3, 4]]).drop(columns=1).groupby(0)
    for split in (dataset.train, dataset.val):
        for name, response in zip(split.metadata["file"], split.responses, strict=True):
            np.testing.assert_allclose(response, frame.get_group(name).iloc[:, 1:].mean(), atol=1e-6)
    for name, trials in zip(dataset.val.metadata["file"], dataset.val.repeats, strict=True):
        np.testing.assert_allclose(trials[:3], frame.get_group(name).iloc[:3, 1:], rtol=1e-6)
    assert dataset.train.repeats is None and dataset.neurons["name"].tolist() == rows[0][2:]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_pack_reads_other_separators_decimal_commas_and_names_in_either_form(tmp_path, separator):
    rows = _recordings(tmp_path / "images", object=["mug"] * 30)
    (tmp_path / "images" / "3.png").rename(tmp_path / "images" / unicodedata.normalize("NFD", "é.png"))
    rows[4][0] = unicodedata.normalize("NFC", "é.png")
    lines = [separator.join(str(cell).replace(".", ",") if i > 1 else cell for i, cell in enumerate(r)) for r in rows]
    (tmp_path / "table.csv").write_text("\ufeff" + "\n\n".join(lines), encoding="utf-8")
    dataset = datasets.load(pack.pack([tmp_path / "images", tmp_path / "table.csv"], tmp_path / "own.h5"))
    row_of = {row[0]: row for row in rows[1:]}
    for name, response in zip(dataset.train.metadata["file"], dataset.train.responses, strict=True):
        np.testing.assert_allclose(response, row_of[name][2:], rtol=1e-6)


@pytest.mark.parametrize("name", ["Unnamed: 0", "index", "stimulus_id", "label", "pos_x", "depth"])
def test_a_column_that_is_no_neuron_is_not_taken_for_one(tmp_path, generator, name):
    values = {"depth": 3000 + generator.normal(size=30), "pos_x": generator.normal(size=30)}
    rows = _recordings(tmp_path / "images", **{name: values.get(name, np.arange(30))})
    with pytest.raises(DataError, match=f"has 1 column not like neurons, '{name}'; expected .*--neurons"):
        pack.pack([tmp_path / "images", _write_table(tmp_path / "table.csv", rows)], tmp_path / "own.h5")


def test_neurons_are_chosen_by_pattern_and_named(tmp_path, capsys):
    rows = _recordings(tmp_path / "images", stimulus_id=[f"s{i}" for i in range(30)])
    table = _write_table(tmp_path / "table.csv", rows)
    arguments = ["data", "pack", str(tmp_path / "images"), str(table), str(tmp_path / "own.h5")]
    assert main(arguments) == 2
    assert "1 column not like neurons, 'stimulus_id'" in capsys.readouterr().err
    assert main([*arguments, "--neurons", "unit *"]) == 0
    assert "4 neurons: unit 0, unit 1, unit 2, unit 3" in capsys.readouterr().out
    dataset = datasets.load(tmp_path / "own.h5")
    assert dataset.val.metadata["stimulus_id"].tolist() == ["s" + f[:-4] for f in dataset.val.metadata["file"]]


@pytest.mark.parametrize("form", ["npz", "npy"])
@pytest.mark.parametrize("shape", [(30, 5), (30, 4, 5)])
def test_pack_arrays(tmp_path, generator, form, shape):
    images = generator.integers(0, 256, (30, 10, 12, 3), dtype=np.uint8)
    responses = generator.normal(size=shape)
    if len(shape) == 3:
        responses[::2, 3] = np.nan
    arrays = {"images": images, "responses": responses, "objects": np.array(["mug", "pen"] * 15)}
    if form == "npz":
        np.savez(tmp_path / "a.npz", **arrays)
        inputs = [tmp_path / "a.npz"]
    else:
        inputs = [tmp_path / f"{name}.npy" for name in arrays]
        for path, array in zip(inputs, arrays.values(), strict=True):
            np.save(path, array)
    assert main(["data", "pack", *map(str, inputs), str(tmp_path / "own.h5")]) == 0
    dataset = datasets.load(tmp_path / "own.h5")
    means = responses if len(shape) == 2 else np.nanmean(responses, axis=1)
    for image, response in zip(dataset.val.images, dataset.val.responses, strict=True):
        (i,) = np.flatnonzero((images == image.transpose(1, 2, 0)).all(axis=(1, 2, 3)))
        np.testing.assert_allclose(response, means[i], rtol=1e-6)
    assert (dataset.val.repeats is None) == (len(shape) == 2)


def test_arrays_that_cannot_be(tmp_path):
    images, responses = np.zeros((9, 8, 8), np.uint8), np.zeros((9, 3))
    for reason, arrays in {
        "no array responses": {"images": images},
        "images of float64": {"images": images / 255, "responses": responses},
        r"expected \(9, n_neurons\)": {"images": images, "responses": responses.T},
        r"objects of shape \(3,\)": {"images": images, "responses": responses, "objects": ["a"] * 3},
        "is pickled": {"images": images, "responses": responses.astype(object)},
    }.items():
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(DataError, match=rf"^{tmp_path}/a.npz: .*{reason}") as error:
            pack.pack([tmp_path / "a.npz"], tmp_path / "own.h5")
        assert "\n" not in str(error.value)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        pack.pack([tmp_path / "a.npz"], tmp_path / "own.h5")


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_every_turn_is_the_one_that_pillow_makes(tmp_path, orientation):
    pixels = np.arange(60, dtype=np.uint8).reshape(6, 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    np.testing.assert_array_equal(open_image("a", lambda: tmp_path / "a.png")[..., 0], expected)


@pytest.mark.parametrize("images", ["zip", "folder"])
def test_pack_a_brainio_assembly(tmp_path, images):
    ids, objects, pixels, shown, values, regions = make_store(tmp_path / "store")
    inputs = [tmp_path / "store" / name for name in (NC, CSV, ZIP)]
    if images == "folder":
        inputs[2] = tmp_path / "images"
        inputs[2].mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(inputs[2] / f"im{i}.png")
    arguments = ["data", "pack", *map(str, inputs), str(tmp_path / "own.h5"), "--where", "region=V4", "animal=Tito"]
    assert main(arguments) == 2  # one site is left
    assert main([*arguments[:-1]]) == 0
    dataset = datasets.load(tmp_path / "own.h5")
    sites = np.flatnonzero(regions == "V4")
    index = {name: i for i, name in enumerate(ids)}
    for split in (dataset.train, dataset.val):
        for image, name, response, of in zip(
            split.images, split.metadata["image_id"], split.responses, split.objects, strict=True
        ):
            i = index[name]
            np.testing.assert_array_equal(image[0], pixels[i])
            np.testing.assert_allclose(response, values[np.ix_(sites, shown == i)].mean(axis=1), atol=1e-6)
            assert of == objects[i]
    assert dataset.neurons["array"].tolist() == [["A", "M", "P"][i % 3] for i in sites]


def test_an_assembly_is_read_by_the_lengths_of_its_axes(tmp_path):
    ids, _, _, shown, values, _ = make_store(tmp_path / "store")
    with h5py.File(tmp_path / "store" / NC, "r+") as file:  # only lengths say which axis is which
        del file["dicarlo.MajajHong2015.public"].attrs["DIMENSION_LIST"]
    recordings = read_assembly(*(tmp_path / "store" / name for name in (NC, CSV, ZIP)))
    for trials, name in zip(recordings.trials, recordings.metadata["image_id"], strict=True):
        expected = values[:, ids[shown] == name].T
        np.testing.assert_array_equal(trials[: len(expected)], expected)
        assert np.isnan(trials[len(expected) :]).all()


@pytest.mark.parametrize(
    ("where", "reason"),
    [({"region": "V1"}, "no region V1; expected of IT, V4"), ({"area": "IT"}, "no coordinate area")],
)
def test_a_filter_that_fits_nothing(tmp_path, where, reason):
    make_store(tmp_path / "store")
    with pytest.raises(DataError, match=reason):
        read_assembly(*(tmp_path / "store" / name for name in (NC, CSV, ZIP)), where=where)


@pytest.mark.skipif(not (SHARED / "brainio_samples").exists(), reason="needs files that BrainIO wrote")
@pytest.mark.parametrize("name", ["assy_test_TestMe.nc", "assy_test_package_assembly.nc"])
def test_files_that_brainio_wrote(tmp_path, name):
    path = SHARED / "brainio_samples" / name
    with h5py.File(path) as file:
        key = "stimulus_id" if "stimulus_id" in file else "image_id"
        ids = file[key].asstr()[()]
        values = next(data[()] for data in file.values() if data.ndim > 1).reshape(6, 3)
        neurons = file["neuroid_id"].asstr()[()].tolist()
    frame = pd.DataFrame({"image_id": sorted(set(ids)), "filename": [f"{name}.png" for name in sorted(set(ids))]})
    frame.to_csv(tmp_path / "s.csv", index=False)
    for file in frame["filename"]:
        Image.new("L", (12, 12)).save(tmp_path / file)
    recordings = read_assembly(path, tmp_path / "s.csv", tmp_path)
    assert recordings.neurons["name"].tolist() == neurons
    for image, trials in zip(frame["image_id"], recordings.trials, strict=True):
        np.testing.assert_array_equal(trials[: (ids == image).sum()], values[ids == image])
