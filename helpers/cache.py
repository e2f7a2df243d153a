"""Results found again or made: runs, Gram matrices and readouts, each in a folder that says what made it.

A result is used again only if its settings, the data, the device and the meaning of the code that computes it are the
same. Results lie in `$IT_RUNS`, else data/runs. Where that is a slow disk, as Colab's Drive, `$IT_SCRATCH` names a
local one for what can be made again: Gram matrices and checkpoints. A folder that cannot be written is refused before
any work; finished results are read from a disk that is only read.
"""

import ast
import contextlib
import dataclasses
import enum
import functools
import glob
import hashlib
import json
import os
import socket
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from helpers.device import accelerator, hardware

ROOT = Path(__file__).parents[1]
LEFT_SECONDS = 3600.0  # a half-written file that nobody has touched for so long is nobody's
CUT = ("datasets/dataset", "datasets/images")  # a profile's cut of the data, which their fingerprint names alone
_BACKBONES = ("models/backbones", "models/weights")
_RIDGE = ("readout/gram", "readout/regression")
# What computes a kind of result. tests/test_cache.py holds the lists against what is executed.
CODE = {
    "run": (*CUT, "device", "models/networks", *_BACKBONES, "training/loop", "training/step")
    + ("training/recipe", "training/ridge_heads", "readout/regression"),  # of the last its penalties
    "gram": (*CUT, "models/backbones", "models/architecture", "readout/features", "readout/gram_by_place")
    + ("readout/gram", "analyses/layer_profile"),
    "readout": (*CUT, *_RIDGE, "readout/features", "readout/gram_by_place", "readout/receptive_fields")
    + ("analyses/layer_profile", "analyses/frozen_networks", "models/architecture")
    + ("models/networks", *_BACKBONES, "experiments/saved_model"),  # of a tuned network
}
CODE["search"] = (*CODE["run"], "experiments/search", "metrics")
# Executed beside them without a share in the numbers: settings and data, which stand in the key, words on the way, and
# calls handed on (rows to models/networks).
NO_INFLUENCE = ("cache", "progress", "datasets/hdf5", "experiments/profiles", "experiments/networks_and_recipes")
NO_INFLUENCE += ("experiments/runs", "models/frozen", "training/checkpoint")


def runs_folder():
    return Path(os.environ.get("IT_RUNS") or ROOT / "data" / "runs")


def scratch_folder():
    """Where checkpoints and Gram matrices lie: a local disk beside a slow one for results, else with the results."""
    return Path(os.environ.get("IT_SCRATCH") or runs_folder())


def make_writable(folder, variable):
    """Make a folder if need be and see that it takes files, so that a bad one is known before hours of work.

    variable : the environment variable that names another place. Raises OSError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        found = f"{folder}: cannot be written ({error.strerror})"
        raise OSError(f"{found}; expected ${variable} to name a folder that can.") from error


def cached(dataset, name, variant, settings, compute, *, kind="readout", together=False):
    """A result: found, where it was made from the same settings, data, device and code; else computed and kept.

    Parameters
    ----------
    dataset : Dataset
    name, variant : str, names of the folder for those who look for it
    settings : dict of what JSON can write, dataclasses, enumerations, classes and partials of these
    compute : called without arguments; returns dict name -> array, value for JSON, or state dict of a network
    kind : of `CODE`; the arrays of "gram" are mapped
    together : whether all processes of one training call this at once, of which the first writes

    Returns
    -------
    The dict, with the path of its safetensors file in place of a state dict.
    """
    folder = result_folder(dataset, name, variant, settings, kind=kind)
    if (found := load(folder)) is not None:
        return found
    if not folder.exists() and any(folder.parent.glob(f"{variant}-" + "?" * 12)):
        print(f"{name}: what is kept of it is of other data, settings, weights or code; made for these", flush=True)
    make_writable(folder, "IT_SCRATCH" if kind == "gram" and os.environ.get("IT_SCRATCH") else "IT_RUNS")
    result = compute()
    if accelerator().is_main_process or not together:
        made = {"kind": kind, "settings": _full(dataset, settings), "code": code_hash(kind)}
        made |= {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), "hardware": hardware()}
        _save(folder, result, made)
    if together:
        accelerator().wait_for_everyone()
    return load(folder)


def result_folder(dataset, name, variant, settings, *, kind="readout"):
    """The folder of a result, named by name, variant and its key; it need not be there."""
    key = digest({"kind": kind, "settings": _full(dataset, settings), "code": code_hash(kind)})
    return (scratch_folder() if kind == "gram" else runs_folder()) / dataset.name / name / f"{variant}-{key}"


def keys_of(mapped):
    """What mapped Gram matrices are in another result's settings: the key of what made each, and its name there."""
    paths = [Path(matrix.filename) for matrix in mapped]
    return [f"{path.parent.name.rpartition('-')[2]} {path.stem}" for path in paths]


def digest(settings):
    """A key of 12 hex digits: of the JSON of settings."""
    return hashlib.blake2b(json.dumps(plain(settings), sort_keys=True).encode(), digest_size=6).hexdigest()


def _full(dataset, settings):
    return plain(settings | {"data": dataset.fingerprint, "device": accelerator().device.type})


def plain(value):
    """Settings as JSON has them: dataclasses by their fields (but those without a repr), classes by their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
        return {"class": type(value).__name__} | fields
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | functools.partial):
        items = [value.func, value.args, value.keywords] if isinstance(value, functools.partial) else value
        return [plain(item) for item in items]
    if isinstance(value, enum.Enum):
        return value.name
    return f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else value


@functools.cache
def code_hash(kind):
    """Hash of the meaning of the modules that compute a kind of result."""
    found = hashlib.blake2b(digest_size=8)
    for name in sorted(CODE[kind]):
        found.update(f"{name} {meaning((ROOT / 'helpers' / f'{name}.py').read_text(encoding='utf-8'))}".encode())
    return found.hexdigest()


def meaning(source):
    """A module's syntax tree without docstrings, comments and layout, as text."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            del node.body[0]
    return ast.dump(tree)


def _save(folder, result, made):
    """Write a result's arrays, state dicts and values; result.json is the last: a folder without it is unfinished."""
    files, arrays = {}, {}
    for name, value in result.items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, dict) and any(map(torch.is_tensor, value.values())):
            files[name] = f"{name}.safetensors"
            with written_whole(folder / files[name]) as path:
                safetensors.torch.save_file({part: tensor.contiguous() for part, tensor in value.items()}, path)
    if made["kind"] == "gram":
        files |= {name: f"{i:02d}-{name}.npy" for i, name in enumerate(arrays)}
        for name, array in arrays.items():
            with written_whole(folder / files[name]) as path, path.open("wb") as file:
                np.save(file, array)
    else:
        files |= dict.fromkeys(arrays, "predictions.npz")
        save_arrays(folder / "predictions.npz", arrays)
    values = {name: value for name, value in result.items() if name not in files}
    with written_whole(folder / "result.json") as path:
        path.write_text(json.dumps({"made": made, "files": files} | values, indent=1), encoding="utf-8")


def load(folder):
    """The finished result in a folder, as `cached` returns it, or None; damaged files are set aside with a warning."""
    reading = folder / "result.json"
    if not reading.exists():
        return None
    try:
        result = json.loads(reading.read_text(encoding="utf-8"))
        del result["made"]
        for name, file in result.pop("files").items():
            reading = folder / file
            if reading.suffix == ".npz":
                with np.load(reading, allow_pickle=False) as arrays:
                    result[name] = arrays[name]
            elif reading.suffix == ".npy":
                result[name] = np.lib.format.open_memmap(reading, mode="r")
            else:
                with safetensors.safe_open(reading, "pt"):  # it refuses a file that was cut short
                    result[name] = reading
    except Exception as error:  # whatever a damaged file raises, the result is made again
        set_aside(reading if reading.exists() else folder / "result.json", error)
        return None
    return result


def save_arrays(path, arrays):
    """Write arrays, a dict, as one .npz file."""
    with written_whole(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)


def weights_digest(state):
    """Digest of a state dict: names and values."""
    found = hashlib.blake2b(digest_size=8)
    for name, tensor in state.items():
        found.update(name.encode())
        found.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def write_whole(path, write):
    """Call `write(temporary path)` and move the result to `path`; see `written_whole`."""
    with written_whole(path) as beside:
        write(beside)


@contextlib.contextmanager
def written_whole(path):
    """Yield a path beside `path` to write to, whose file takes its place: a reader sees a whole file or none.

    Raises OSError, a sentence that names `path`, if the folder takes no files, before any work, or no more of them.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}-")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*"):  # by processes that were killed while they wrote
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                    left.unlink()
        beside.touch()
        yield beside
        os.replace(beside, path)
    except OSError as error:
        found = "no space left" if "No space left" in str(error) else error.strerror or " ".join(str(error).split())
        raise OSError(f"{path}: cannot be written ({found}); expected space and a folder that can.") from error
    finally:
        for left in path.parent.glob(f"{glob.escape(beside.name)}*"):  # what a writer left beside it, too
            with contextlib.suppress(OSError):
                left.unlink()


def set_aside(path, error):
    """Rename a damaged file so that it is neither used nor lost."""
    damaged = path.with_name(path.name + ".damaged")
    with contextlib.suppress(FileNotFoundError):  # another process may have been first
        os.replace(path, damaged)
    warnings.warn(f"{path} is damaged ({error}); set aside as {damaged.name} and made again", stacklevel=3)
