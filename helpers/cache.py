"""Results found again or made: where they lie, files written whole or not at all, damaged ones set aside.

A result is used again only if data, settings, precision, the weights it starts from and the code that computes it are
the same. Results lie in `$IT_RUNS`, else data/runs, a folder each; figures and tables in `$IT_OUT`, else
figures/<data set>. A folder that cannot be written is refused before any work.
"""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from helpers.device import accelerator

ROOT = Path(__file__).parents[1]
CODE = (
    "datasets/hdf5", "datasets/images", "datasets/dataset", "models/networks", "models/weights", "device",
    "training/recipe", "training/loop", "readout/features", "readout/places", "readout/gram",
    "readout/regression", "readout/located", "metrics",
)  # fmt: skip


def runs_folder():
    return Path(os.environ.get("IT_RUNS") or ROOT / "data" / "runs")


def output_folder(dataset):
    """Where a notebook's figures and tables go; made if need be."""
    folder = Path(os.environ.get("IT_OUT") or ROOT / "figures" / dataset.name)
    make_writable(folder, "IT_OUT")
    return folder


def make_writable(folder, variable):
    """Make a folder if need be and see that it takes files, so that a bad one is known before hours of work.

    variable : the environment variable that names another place. Raises OSError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"{folder}: cannot be written ({error.strerror}); expected ${variable} to name a folder that can."
        ) from error


@functools.cache
def code_hash(modules=CODE):
    """Hash of the modules that compute results: a changed comment makes results anew, a changed notebook does not."""
    digest = hashlib.blake2b(digest_size=8)
    for name in modules:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


def run_folder(dataset, name, variant, settings):
    """The folder of a run, named by its settings; made, and says so where only runs with other settings are there."""
    key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=6).hexdigest()
    parent = runs_folder() / dataset.name / name
    folder = parent / f"{variant}-{key}"
    if not folder.exists() and any(parent.glob(f"{variant}-" + "?" * 12)):
        print(f"{name}: data, settings, weights or code changed since it was last run; made again", flush=True)
    if not any(folder.glob("*.np[yz]")):  # a finished one may lie on a disk that is only read
        make_writable(folder, "IT_RUNS")
    return folder


def cached(dataset, name, variant, settings, compute):
    """A readout's arrays: those that `compute` returned when it was called with these settings, else those of now."""
    settings = settings | {"data": dataset.fingerprint, "device": accelerator().device.type}
    settings["code"] = code_hash((*CODE, "analyses/layer_profile", "analyses/frozen_networks"))
    path = run_folder(dataset, name, variant, settings) / "predictions.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except Exception as error:  # whatever a damaged file raises, its arrays are made again
            set_aside(path, error)
    arrays = compute()
    write_whole(path, lambda path: save_arrays(path, arrays))
    return arrays


def save_arrays(path, arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


def save_array(path, array):
    with path.open("wb") as file:
        np.save(file, array)


def map_array(path):
    """The array in a file, mapped, or None; a damaged file is set aside with a warning."""
    if not path.exists():
        return None
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # whatever a damaged file raises, its array is made again
        set_aside(path, error)
        return None


def save_test_predictions(path, responses):
    """Write predictions for the test images, array `responses` of shape (n_images, n_neurons), in the file's units."""
    write_whole(path, lambda path: save_arrays(path, {"responses": responses.astype(np.float32)}))


def weights_digest(state):
    """Digest of a state dict: names and values."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def hardware():
    """The machine in a few words, for the tables."""
    if accelerator().device.type == "cuda":
        return torch.cuda.get_device_name()
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpu.read_text()) if cpu.exists() else None
    return f"{model[1] if model else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def stamp():
    """Date, code version and hardware, for reports."""
    version = f"hash {code_hash()}"
    git = functools.partial(subprocess.run, cwd=ROOT, capture_output=True, text=True)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # no git, or not a clone
        version = git(["git", "rev-parse", "--short", "HEAD"], check=True).stdout.strip()
        if git(["git", "status", "--porcelain", "helpers", "benchmarks/*.py"], check=True).stdout:
            version += ", changed"
    return f"{datetime.now(UTC):%Y-%m-%d}; code {version}; {hardware()}"


LEFT_SECONDS = 3600.0  # a half-written file that nobody has touched for so long is nobody's


def write_whole(path, write):
    """Call `write(temporary path)` and move the result to `path`, so that a reader sees a whole file or none."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):  # by processes that were killed while they wrote
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def set_aside(path, error):
    """Rename a damaged file so that it is neither used nor lost."""
    damaged = path.with_name(path.name + ".damaged")
    with contextlib.suppress(FileNotFoundError):  # another process may have been first
        os.replace(path, damaged)
    warnings.warn(f"{path} is damaged ({error}); set aside as {damaged.name} and made again", stacklevel=3)
