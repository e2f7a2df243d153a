"""Public recordings, fetched from a miniature of their store: converted as computed by hand, resumed, refused."""

import contextlib
import csv
import hashlib
import io
import json
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split
from test_datasets import write_file

from helpers import datasets
from helpers.__main__ import main
from helpers.datasets import describe, populations, sources
from helpers.datasets.formats import public
from helpers.datasets.hdf5 import DataError
from helpers.experiments.profiles import PROFILES

NC, CSV, ZIP = "assy_dicarlo_MajajHong2015_public.nc", "stimulus_hvm-public.csv", "stimulus_hvm-public.zip"
SHARED = Path(__file__).parents[2] / "shared"
pytestmark = pytest.mark.filterwarnings("ignore:.*val images, too few", "ignore:.*digest was not verified")


# A miniature of the store -------------------------------------------------------------------------------------------


def _coordinate(file, name, values, scale):
    data = file.create_dataset(name, data=values.astype(object) if values.dtype.kind == "U" else values)
    data.dims[0].attach_scale(scale)


def write_assembly(path, ids, repetition, regions, values, *, order=("neuroid", "presentation", "time_bin")):
    """An assembly as netCDF4 lays it out; values (n_neuroids, n_presentations, 1) are moved to the axes' order."""
    axes = dict(zip(("neuroid", "presentation", "time_bin"), values.shape, strict=True))
    n_neuroids = axes["neuroid"]
    with h5py.File(path, "w", track_order=True) as file:
        scales = {}
        for name, length in axes.items():
            scales[name] = file.create_dataset(name, (length,), ">f4")
            scales[name].make_scale(f"This is a netCDF dimension but not a netCDF variable.{length:10d}")
        _coordinate(file, "image_id", np.array(ids), scales["presentation"])
        _coordinate(file, "repetition", np.array(repetition), scales["presentation"])
        _coordinate(file, "neuroid_id", np.array([f"site {i}" for i in range(n_neuroids)]), scales["neuroid"])
        _coordinate(file, "region", np.array(regions), scales["neuroid"])
        _coordinate(file, "animal", np.array(["Chabo", "Tito"] * n_neuroids)[:n_neuroids], scales["neuroid"])
        _coordinate(file, "arr", np.array(["A", "M", "P"] * n_neuroids)[:n_neuroids], scales["neuroid"])
        _coordinate(file, "time_bin_start", np.array([70]), scales["time_bin"])
        moved = values.transpose([list(axes).index(name) for name in order])
        data = file.create_dataset("dicarlo.MajajHong2015.public", data=moved.astype("f4"))
        for axis, name in enumerate(order):
            data.dims[axis].attach_scale(scales[name])


def make_store(folder, *, n_images=120, pixels=48, **layout):
    """The three files of Majaj & Hong in small, and what they were made from."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    ids = np.array([hashlib.sha1(str(i).encode()).hexdigest() for i in range(n_images)])
    objects = np.array(["face0", "bear", "ship3", "car_z3"])[np.arange(n_images) % 4]
    variation = np.where(np.arange(n_images) % 5, 3, 0)
    images = rng.integers(0, 256, (n_images, pixels, pixels), dtype=np.uint8)
    shown = np.repeat(np.arange(n_images), np.where(variation == 3, 4, 2))
    shown = shown[rng.permutation(len(shown))]
    regions = ["IT", "V4", "IT", "IT", "V4"]
    values = rng.normal(size=(len(regions), len(shown), 1)).astype(np.float32)
    repetition = [(shown[:i] == image).sum() for i, image in enumerate(shown)]
    write_assembly(folder / NC, ids[shown], repetition, regions, values, **layout)
    with open(folder / CSV, "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["id", "image_id", "filename", "category_name", "object_name", "variation", "rxy"])
        for i in rng.permutation(n_images):
            lines.writerow([i, ids[i], f"im{i}.png", "Faces", objects[i], variation[i], i / 7])
    with zipfile.ZipFile(folder / ZIP, "w") as archive:
        for i, image in enumerate(images):
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            archive.writestr(f"im{i}.png", content.getvalue())
        archive.writestr("../../escaped.png", b"")
    return ids, objects, images, shown, values[:, :, 0], np.array(regions)


class Store(BaseHTTPRequestHandler):
    """Serves a folder with ranges; `faults` says of a file what goes wrong, and how often."""

    def __init__(self, folder, faults, log, *args):
        self.folder, self.faults, self.log = folder, faults, log
        super().__init__(*args)

    def do_GET(self):
        name = self.path.split("?")[0].lstrip("/")
        self.log.append((name, self.headers.get("Range")))
        fault, left = self.faults.get(name, (None, 0))
        fault = fault if left else None
        self.faults[name] = (self.faults.get(name, (None, 0))[0], max(0, left - 1))
        if fault == "403" or not (self.folder / name).is_file():
            return self.send_error(403 if fault else 404)
        body, start = (self.folder / name).read_bytes(), 0
        if self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        html = fault == "html"
        body = b"<html>Please log in.</html>" if html else body
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if html else "application/octet-stream")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : start + (len(body) - start) // 2] if fault == "broken" else body[start:])

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder):
    faults, log = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Store, folder, faults, log))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", faults, log
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def near_and_small(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("majaj-hong-it", "majaj-hong-v4"):
        assert describe.catalogue()[name]["pixels"] == 224
        monkeypatch.setitem(describe.catalogue()[name], "pixels", 32)


@pytest.mark.parametrize("name", ["majaj-hong-it", "majaj-hong-v4"])
@pytest.mark.parametrize(
    "order", [("neuroid", "presentation", "time_bin"), ("presentation", "time_bin", "neuroid")], ids=["as is", "other"]
)
def test_the_rebuilt_file_is_what_the_originals_say(tmp_path, name, order, capsys):
    ids, objects, images, shown, values, regions = make_store(tmp_path / "store", order=order)
    out = tmp_path / "out" / "rebuilt.h5"
    with served(tmp_path / "store") as (address, _, _):
        assert main(["data", "fetch", name, str(out), "--from", address, "--unverified"]) == 0
    said = capsys.readouterr().out
    assert "differs from the course's" in said and f"{NC}: its digest was not verified" in said

    order = np.argsort(ids)
    rest, test = train_test_split(order, test_size=0.1, random_state=42, stratify=objects[order])
    train, val = train_test_split(rest, test_size=0.1, random_state=42, stratify=objects[rest])
    dataset = datasets.load(out)
    sites = np.flatnonzero(regions == name[-2:].upper())
    assert dataset.n_neurons == len(sites)
    for split, index in (("train", train), ("val", val), ("test", test)):
        found = getattr(dataset, split)
        assert found.objects.tolist() == objects[index].tolist()
        assert found.metadata["image_id"].tolist() == ids[index].tolist()
        assert found.images.shape == (len(index), 1, 32, 32) and found.images.dtype == np.uint8
        for image, i in zip(found.images[:3, 0], index, strict=False):
            expected = np.asarray(Image.fromarray(images[i]).resize((32, 32), Image.Resampling.BILINEAR), int)
            assert np.abs(image - expected).max() <= 1
        for row, i in enumerate(index if split != "test" else ()):
            trials = values[np.ix_(sites, shown == i)].T.astype(float)
            np.testing.assert_allclose(found.responses[row], trials.mean(axis=0), atol=1e-6)
            if split == "val":
                np.testing.assert_allclose(found.repeats[row, : len(trials)], trials, atol=1e-6)
                assert np.isnan(found.repeats[row, len(trials) :]).all()
    assert dataset.neurons["name"].tolist() == [f"site {i}" for i in sites]
    assert dataset.neurons["animal"].tolist() == [["Chabo", "Tito"][i % 2] for i in sites]
    assert set(dataset.neurons["area"]) == {name[-2:].upper()} and set(dataset.val.metadata["category"]) == {"Faces"}
    with h5py.File(out) as file:
        numbers = [key for key in file if key.startswith("spikes")]
        assert sorted(numbers) == ["spikes_train", "spikes_val", "spikes_val_repeats"]  # nothing of test
        assert json.loads(file.attrs["sha1"])[CSV] == sources.sha1(tmp_path / "store" / CSV)
    summary = describe.check(out)
    assert f"({name}); cite Majaj, Hong" in summary and f"digest was not verified: {NC}" in summary
    assert not list(tmp_path.rglob("escaped.png"))


def test_as_course_has_the_course_files_keys_and_units(tmp_path):
    make_store(tmp_path / "store")
    for out, more in (("small.h5", []), ("course.h5", ["--as-course"])):
        arguments = ["majaj-hong-it", str(tmp_path / out), "--from", str(tmp_path / "store"), "--unverified", *more]
        assert main(["data", "fetch", *arguments]) == 0
    small, course = datasets.load(tmp_path / "small.h5"), datasets.load(tmp_path / "course.h5")
    with h5py.File(tmp_path / "course.h5") as file:
        keys = {f"{kind}_{split}" for kind in ("stimulus", "object") for split in ("train", "val", "test")}
        assert set(file) == keys | {"spikes_train", "spikes_val"}
        assert file["stimulus_val"].dtype == np.float32 and file["stimulus_val"].shape[1:] == (3, 32, 32)
    np.testing.assert_array_equal(course.images, small.images)
    np.testing.assert_array_equal(course.train.responses, small.train.responses)


def test_a_broken_download_goes_on_where_it_broke_off(tmp_path, monkeypatch):
    make_store(tmp_path / "store")
    monkeypatch.setattr(sources, "RETRIES", 0)
    (tmp_path / "out").mkdir()
    with served(tmp_path / "store") as (address, faults, log):
        faults[NC] = ("broken", 1)
        with pytest.raises(DataError, match=f"^{NC}: not downloaded .*; try again to go on") as error:
            sources.fetch("majaj-hong-it", tmp_path / "out" / "a.h5", origin=address, unverified=True)
        assert "\n" not in str(error.value) and [p.name for p in (tmp_path / "out").iterdir()] == [".downloads"]
        half = (tmp_path / "store" / NC).stat().st_size // 2 // sources.BLOCK * sources.BLOCK
        sources.fetch("majaj-hong-it", tmp_path / "out" / "a.h5", origin=address, unverified=True)
        assert (NC, f"bytes={half}-") in log
        before = len(log)
        sources.fetch("majaj-hong-v4", tmp_path / "out" / "b.h5", origin=address, unverified=True)
        assert len(log) == before  # what is there is not downloaded again
    assert datasets.load(tmp_path / "out" / "a.h5").n_neurons == 3


def test_one_fault_in_a_download_is_mended_by_itself(tmp_path):
    make_store(tmp_path / "store")
    with served(tmp_path / "store") as (address, faults, _):
        faults[ZIP] = ("broken", 2)
        sources.fetch("majaj-hong-it", tmp_path / "a.h5", origin=address, unverified=True)
    assert datasets.load(tmp_path / "a.h5").n_neurons == 3


def test_another_area_is_found_beside_the_file_where_its_images_are_the_same(tmp_path, monkeypatch):
    make_store(tmp_path / "store")
    monkeypatch.delenv("IT_OTHER_AREA", raising=False)
    whole = PROFILES["full"]
    for name in ("majaj-hong-it", "majaj-hong-v4"):
        sources.fetch(name, tmp_path / f"{name}.h5", origin=tmp_path / "store", unverified=True)
    it = datasets.load(tmp_path / "majaj-hong-it.h5")
    other, said = populations.same_images(it, whole)
    assert other.neurons["area"].tolist() == ["V4", "V4"] and "2 other neurons, the same images. Noise ceil" in said
    np.testing.assert_array_equal(other.val.images, it.val.images)
    other.path.rename(tmp_path / "v4.h5")
    other, said = populations.same_images(it, whole)
    assert other is None and said.endswith("python -m helpers data fetch majaj-hong-v4 gets it.")
    monkeypatch.setenv("IT_OTHER_AREA", str(tmp_path / "v4.h5"))
    assert populations.same_images(it, whole)[0].n_neurons == 2
    less, _ = populations.same_images(PROFILES["tiny"].prepare(it), PROFILES["tiny"])
    assert len(less.train.images) == 64
    write_file(tmp_path / "v4.h5")
    assert "has other images than majaj-hong-it.h5" in populations.same_images(it, whole)[1]
    monkeypatch.setenv("IT_OTHER_AREA", str(tmp_path / "gone.h5"))
    with pytest.raises(DataError, match="gone.h5: no such file"):
        populations.same_images(it, whole)
    monkeypatch.delenv("IT_OTHER_AREA")
    own = datasets.load(tmp_path / "v4.h5")
    assert "$IT_OTHER_AREA can name one" in populations.same_images(own, whole)[1]


def page_for_the_assembly(folder):
    (folder / NC).write_text("<!DOCTYPE html><html>Please log in.</html>")


def lacking_a_column(folder):
    text = (folder / CSV).read_text()
    (folder / CSV).write_text(text.replace("image_id", "name", 1))


def lacking_an_image(folder):
    lines = (folder / CSV).read_text().splitlines()
    (folder / CSV).write_text("\n".join(lines[:-1]))


def another_zip(folder):
    (folder / ZIP).write_bytes(b"not a zip")


def cut_short(folder):
    (folder / NC).write_bytes((folder / NC).read_bytes()[:3000])


def lacking_a_picture(folder):
    with zipfile.ZipFile(folder / ZIP, "w") as archive:
        archive.writestr("im0.png", b"nothing")


# name: (what goes wrong, with a file of the store or in the answers to requests, and a word of the reason)
BAD_STORES = {
    "forbidden": ({CSV: ("403", 9)}, "403 Forbidden from 127.0.0.1"),
    "web page": ({ZIP: ("html", 9)}, "sent a web page"),
    "web page under its name": (page_for_the_assembly, "is a web page"),
    "not there": (lambda folder: (folder / CSV).unlink(), "404"),
    "no id column": (lacking_a_column, "expected stimulus_id or image_id"),
    "image without a row": (lacking_an_image, "lacks 1 image"),
    "not a zip": (another_zip, "expected a zip archive"),
    "image not in the zip": (lacking_a_picture, "lacks; expected it"),
    "assembly cut short": (cut_short, "truncated"),
}


@pytest.mark.parametrize("name", BAD_STORES)
def test_a_bad_store_leaves_no_data_file(tmp_path, name, capsys):
    make_store(tmp_path / "store")
    fault, reason = BAD_STORES[name]
    with served(tmp_path / "store") as (address, faults, _):
        faults.update(fault) if isinstance(fault, dict) else fault(tmp_path / "store")
        out = tmp_path / "out" / "a.h5"
        assert main(["data", "fetch", "majaj-hong-it", str(out), "--from", address, "--unverified"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and reason in said
        assert [path.name for path in out.parent.iterdir()] in ([], [".downloads"])
        make_store(tmp_path / "store")  # mended, a second try succeeds
        faults.clear()
        assert main(["data", "fetch", "majaj-hong-it", str(out), "--from", address, "--unverified"]) == 0


def test_another_digest_is_refused(tmp_path):
    make_store(tmp_path / "store")
    for origin in (tmp_path / "store", None):
        with served(tmp_path / "store") as (address, _, _), pytest.raises(DataError, match="sha1 .*expected 13d28ca0"):
            sources.fetch("majaj-hong-it", tmp_path / "a.h5", origin=origin or address)
    assert not (tmp_path / "a.h5").exists() and not list(tmp_path.rglob(f".downloads/*/{NC}*"))


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    make_store(tmp_path / "store")
    full = OSError(28, "No space left on device")

    def fails(*_):
        raise full

    with served(tmp_path / "store") as (address, _, _), monkeypatch.context() as patch:
        patch.setattr(sources, "_go_on", fails)
        with pytest.raises(DataError, match=rf"{NC}: cannot be written \(No space left on device\)"):
            sources.fetch("majaj-hong-it", tmp_path / "a.h5", origin=address)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**5))
    with pytest.raises(DataError, match=r"a.h5: cannot be written \(no space left: 0 MB\); expected 1 MB"):
        sources.fetch("majaj-hong-it", tmp_path / "a.h5", origin=tmp_path / "store", unverified=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("h5")] == []


@pytest.mark.skipif(not (SHARED / "hvm_public_ids.csv").exists(), reason="needs the ids of the public images")
def test_the_split_of_the_public_images_is_the_courses():
    with open(SHARED / "hvm_public_ids.csv", encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["image_id"])
    ids, objects = (np.array([row[key] for row in rows]) for key in ("image_id", "object_name"))
    facts = describe.catalogue()["course"]["facts"]
    splits = public.course_split("ids", ids, objects)
    for split, index in splits.items():
        assert public.split_digest(ids[index]) == facts["split_sha256"][split]
        variations = [rows[i]["variation"] for i in index]
        assert {v: variations.count(v) for v in ("0", "3")} == facts["variations"][split]
    for fact in facts["averages"]:
        assert ids[splits["train"][fact["row"]]].startswith(fact["image_id"])


def test_a_name_of_the_catalogue_is_fetched_on_first_use(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("helpers.datasets.DATA", tmp_path)
    monkeypatch.setattr(sources, "fetch", lambda name, out: (asked.append(name), write_file(out)))
    for _ in range(2):
        assert datasets.find("majaj-hong-it") == tmp_path / "majaj-hong-it.h5"
    assert asked == ["majaj-hong-it"] and datasets.load(tmp_path / "majaj-hong-it.h5").n_neurons == 3


def test_what_is_not_in_the_catalogue(tmp_path):
    with pytest.raises(DataError, match="no such source; expected one of course, majaj-hong-it"):
        sources.fetch("majaj", tmp_path / "a.h5")
    with pytest.raises(DataError, match="has no sessions"):
        sources.fetch("majaj-hong-it", tmp_path / "a.h5", session="190923")


# The course's file ----------------------------------------------------------------------------------------------------


def test_the_courses_file_comes_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    write_file(tmp_path / "store" / "IT_data.h5")
    target = tmp_path / "data" / "IT_data.h5"
    monkeypatch.setattr(sources, "RETRIES", 0)
    with served(tmp_path / "store") as (address, faults, _):
        for fault, reason in {"broken": "incomplete", "html": "not an HDF5 file", "403": "403"}.items():
            faults["IT_data.h5"] = (fault, 9)
            with pytest.raises(DataError, match=reason) as error:
                sources.fetch("course", target, origin=f"{address}/IT_data.h5")
            assert str(error.value).startswith(f"{target}: ") and "\n" not in str(error.value)
            assert list(target.parent.iterdir()) == []
        faults.clear()
        assert sources.fetch("course", target, origin=f"{address}/IT_data.h5") == target
    assert target.read_bytes() == (tmp_path / "store" / "IT_data.h5").read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["IT_data.h5"]
    with pytest.raises(DataError, match="exists already"):
        sources.fetch("course", target)


def test_an_interrupted_download_leaves_nothing_behind(tmp_path, monkeypatch):
    import gdown

    def interrupted(url, output, **_):
        Path(f"{output}.part").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(gdown, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.fetch("course", tmp_path / "data" / "IT_data.h5")
    assert list((tmp_path / "data").iterdir()) == []


# Cowley et al. --------------------------------------------------------------------------------------------------------


def make_session(folder, images, *, session="210325", quality=75, seed=0):
    """A session's folder as its repository has it, with trials made up here; responses (n_neurons, n_images, 5)."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "responses_raw").mkdir()
    with zipfile.ZipFile(folder / "images" / f"images_{session}.zip", "w") as archive:
        for i in rng.permutation(len(images)):  # in no order: names are to be sorted
            content = io.BytesIO()
            Image.fromarray(images[i]).convert("RGB").save(content, "JPEG", quality=quality)
            archive.writestr(f"images_{session}/image{i + 1:04d}.jpg", content.getvalue())
        archive.writestr("__MACOSX/images/._image0001.jpg", b"")
    counts = rng.poisson(5, (6, len(images), 5)).astype(float)
    counts[:, ::3, 4] = np.nan
    np.save(folder / "responses_raw" / f"responses_{session}.npy", counts)
    return counts


def assert_z_scored(dataset, counts, order):
    """order: the session's index of every image of train and val, in the file's order."""
    means = np.nanmean(counts, axis=2).T[order]
    n_train = len(dataset.train.responses)
    mean, sd = means[:n_train].mean(axis=0), means[:n_train].std(axis=0)
    np.testing.assert_allclose(dataset.train.responses, (means[:n_train] - mean) / sd, atol=1e-6)
    np.testing.assert_allclose(dataset.val.responses, (means[n_train:] - mean) / sd, atol=1e-6)
    trials = (counts.transpose(1, 2, 0)[order[n_train:]] - mean) / sd
    np.testing.assert_allclose(dataset.val.repeats, trials, atol=1e-6)


def test_another_session_comes_without_labels(tmp_path, generator):
    images = generator.integers(0, 256, (40, 14, 14), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    counts = make_session(tmp_path / "190923", images, session="190923")
    arguments = ["cowley-v4", str(tmp_path / "a.h5"), "--from", str(tmp_path / "190923"), "--session", "190923"]
    assert main(["data", "fetch", *arguments]) == 0
    dataset = datasets.load(tmp_path / "a.h5")
    assert dataset.object_names == ["unknown"] and len(dataset.val.objects) == 4
    files = [*dataset.train.metadata["file"], *dataset.val.metadata["file"]]
    assert_z_scored(dataset, counts, np.array([int(name[-8:-4]) - 1 for name in files]))
    assert "session 190923 (cowley-v4)" in describe.check(tmp_path / "a.h5")


def test_a_labelled_session_needs_the_listed_images(tmp_path, generator):
    make_session(tmp_path / "210325", generator.integers(0, 256, (12, 112, 112), dtype=np.uint8))
    with pytest.raises(DataError, match=r"images_210325.zip: has \d+ of the 640 images of data/v4_hvm640.csv"):
        sources.fetch("cowley-v4", tmp_path / "a.h5", origin=tmp_path / "210325")


@pytest.mark.skipif(not (SHARED / "v4_hvm640").exists(), reason="needs the session's images")
def test_the_labelled_session_gets_its_objects_and_split(tmp_path, generator):
    sample = np.load(SHARED / "v4_hvm640" / "v4_hvm640.npz")
    images = np.concatenate([sample[f"images_{split}"] for split in ("train", "val", "test")])
    order = generator.permutation(len(images))
    counts = make_session(tmp_path / "session", images[order])
    assert main(["data", "fetch", "cowley-v4", str(tmp_path / "a.h5"), "--from", str(tmp_path / "session")]) == 0
    dataset = datasets.load(tmp_path / "a.h5")
    for split in ("train", "val", "test"):
        found = getattr(dataset, split)
        assert found.objects.tolist() == sample[f"object_{split}"].tolist()
        assert np.abs(found.images[:, 0].astype(int) - sample[f"images_{split}"]).mean() < 5  # as JPEG
    assert_z_scored(dataset, counts, np.argsort(order)[:544])
