"""What the cache holds for a data set: finished runs of all rows, own networks and readouts, and the best model.

Networks are not imported, which would take longer than all the rest: a result's folder says what it is.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from helpers import cache, datasets, metrics
from helpers.datasets import populations
from helpers.explore import page, widget
from helpers.plots import STRETCHED

READOUT = {"row", "kernels", "fit", "data", "device"}  # settings of a readout; by folds over objects it has more


class Held(NamedTuple):
    """Predictions of one seed: `val`, an array of shape (n_images, n_neurons) in the units of the file."""

    val: np.ndarray


def open(path=None, *, profile=None):
    """The explorer of a data file, with everything that is finished in its list, opened on the best model.

    Parameters
    ----------
    path : data file; None for the one that `datasets.find` names
    profile : name of a profile; None for `current_profile`'s

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    ValueError
        If nothing is finished.
    """
    from helpers.experiments.profiles import current_profile

    profile = current_profile(profile)
    dataset = profile.prepare(datasets.load(path))
    found = held(dataset, profile)
    if not found:
        raise ValueError(f"{cache.runs_folder()}: nothing finished for {dataset.path}; expected `make report` first")
    return widget.explore(found, dataset, populations.ceiling_of(dataset)[0])


def held(dataset, profile):
    """Finished models of a data set, the best model first, the others by score: dict name -> list of Held, one a seed.

    dataset : as `profile.prepare` returned it. Of settings that share a name the last one made counts.
    """
    sides = {profile.side(dataset, backbone=backbone) for backbone in (True, False)}
    sizes = {datasets.reduce(dataset, n_train=None, pixels=side).fingerprint for side in sides}
    found = {}  # name -> settings -> seed -> folder
    for folder, made in results(dataset):
        settings, kind = made["settings"], made["kind"]
        if made["code"] != cache.code_hash(kind) or settings.get("experiment", {}).get("name", "").endswith(STRETCHED):
            continue
        if kind == "run" and settings["data"] in sizes and settings["held_out_fold"] is None:
            row, seed = settings["experiment"], settings["seed"]
            found.setdefault(row["name"], {}).setdefault(cache.digest(row), {})[seed] = folder
        elif kind == "readout" and settings["data"] == dataset.fingerprint and {*settings} == READOUT:
            found.setdefault(settings["row"], {})[cache.digest(settings)] = {0: folder}
    models, scores = {}, {}
    for name, by_settings in found.items():
        *_, seeds = by_settings.values()
        loaded = [cache.load(seeds[seed]) for seed in sorted(seeds)]
        if whole := [Held(result["val"]) for result in loaded if result]:
            models[name] = whole
            scores[name] = np.nan_to_num(metrics.known_mean(page.explained(whole, dataset)), nan=-np.inf)
    return best(dataset, profile) | {name: models[name] for name in sorted(models, key=lambda name: -scores[name])}


def results(dataset):
    """Folders of a data set's finished results and what made them, the oldest first."""
    paths = cache.runs_folder().joinpath(dataset.name).glob("*/*/result.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        with contextlib.suppress(ValueError, KeyError):  # damaged: whoever needs it next sets it aside
            yield path.parent, json.loads(path.read_text(encoding="utf-8"))["made"]


def best(dataset, profile):
    """The best model that a report saved for this data: dict 'best model: <its name>' -> [Held]; empty without one."""
    folders = [Path(os.environ["IT_OUT"])] if os.environ.get("IT_OUT") else []
    folders += [path for parent in ("report", "figures") for path in (cache.ROOT / parent).glob("*")]
    made = {"data": dataset.fingerprint, "profile": profile.name}
    for path in (folder / "best_model" / "model.json" for folder in folders):
        model = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        predictions = path.with_name(model.get("predictions") or "no file")
        if predictions.exists() and all(model.get(key) == value for key, value in made.items()):
            return {f"{page.BEST}{model['name']}": [Held(safetensors.numpy.load_file(predictions)["val"])]}
    return {}
