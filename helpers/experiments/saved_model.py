"""A model that predicts any images: readouts, a fine-tuned network, the located readout of its backbone, or their mean.

A saved one is a folder: `model.json` says what the model is, what it holds and how long an image takes; beside it lie
its arrays as safetensors, what parts share once. Nothing is pickled.
"""

import functools
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import safetensors.numpy
import safetensors.torch
import torch

from helpers import cache, models
from helpers.datasets.formats import own_images, whole
from helpers.datasets.images import Normalisation, to_batch
from helpers.device import accelerator
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.models import architecture
from helpers.readout import new_images
from helpers.readout.features import PIXELS, View, pixel_view
from helpers.readout.new_images import Predictor
from helpers.training import loop

FORMAT = 3


class Tuned(NamedTuple):
    """A trained network. run : name of its experiment. images : an empty array of the shape and type that it sees."""

    run: str
    model: torch.nn.Module
    normalisation: Normalisation
    images: np.ndarray

    def predict(self, images):
        """Predictions (n_images, n_neurons), float64, of images of its shape and number type."""
        return loop.predict(self.model, images, self.normalisation)[0].astype(np.float64)

    def view(self, blur=0.0):
        """How its backbone's located readout sees images at the network's own size; see `at_two_sizes`."""
        backbone, pixels = self.model.backbone, self.model.features.pixels
        layers = architecture.rectified_layers(backbone)
        return View(backbone, layers, self.normalisation, pixels, blur=blur, name=self.run, weights="fine-tuned")

    def of_ramp(self):
        """Its predictions (n_neurons,) of one image that needs none: brighter from the top to the bottom."""
        ramp = np.linspace(0, 1, np.prod(self.images.shape[2:]), dtype=np.float32)
        ramp = np.rint(ramp * 255) if self.images.dtype == np.uint8 else ramp
        ramp = np.broadcast_to(ramp.reshape(self.images.shape[2:]), self.images.shape[1:])[None]
        batch = to_batch(torch.from_numpy(ramp.astype(self.images.dtype)).to(accelerator().device), self.normalisation)
        with torch.inference_mode():  # in float32 on any device
            return self.model.eval()(batch)[0][0].cpu().numpy().astype(np.float64)


def of_run(experiment, finished, dataset):
    """The network of a finished run, a Tuned. dataset : at the size that it was trained at"""
    state = safetensors.torch.load_file(finished.weights)
    normalisation = experiment.inputs.normalisation(dataset, experiment.backbone)
    return Tuned(experiment.name, rebuilt(experiment, dataset, state), normalisation, dataset.images[:0])


@dataclass
class Model:
    """Parts whose mean is the prediction.

    Attributes
    ----------
    description : dict of what is said of it in model.json
    parts : list of Predictor and Tuned
    images : an empty array of the shape and number type that images are brought to
    predictions : dict 'val', 'test' -> array (n_images, n_neurons) that the fit gave; None of a loaded model
    """

    description: dict
    parts: list
    images: np.ndarray
    predictions: dict | None = None

    def predict(self, images):
        """Predictions (n_images, n_neurons), float64, of images in any form that own_images.read takes.

        Images are brought to the size and channels of the fitted ones. Raises ValueError for images that cannot be
        brought to them, and where a network's weights or the code are others than when the model was fitted.
        """
        brought = own_images.read(images, shape=self.images.shape[1:], dtype=self.images.dtype)
        predictions = []
        for part in self.parts:
            shape, dtype = part.images.shape[1:], part.images.dtype
            predictions.append(part.predict(own_images.read(brought, shape=shape, dtype=dtype)))
        return np.mean(predictions, axis=0)

    def save(self, folder):
        """Write the model to a folder, whose earlier model it replaces; `model.json`, the last, makes it whole."""
        folder, before = Path(folder), _files(Path(folder))
        parts = [_write(part, folder) for part in self.parts]
        files = {file for part in parts for file in part["files"].values()}
        predictions = _write_arrays(folder, "predictions", self.predictions) if self.predictions else None
        readouts = [(part, said["files"]["images"]) for part, said in zip(self.parts, parts, strict=True)
                    if isinstance(part, Predictor)]  # fmt: skip
        held = {file: f"{len(of.images)} fitted images ({of.images.nbytes / 1e6:.1f} MB)" for of, file in readouts}
        description = self.description | {
            "format": FORMAT,
            **_form(self.images),
            "size": f"{sum((folder / file).stat().st_size for file in files) / 1e6:.1f} MB",
            "holds": " and ".join(held.values()) or "no images",
            "seconds for one image": round(sum(part.seconds_for_one() for part, _ in readouts), 1),
            "parts": parts,
            "predictions": predictions,
        }
        text = json.dumps(description, indent=1)
        cache.write_whole(folder / "model.json", lambda path: path.write_text(text, encoding="utf-8"))
        for file in before - files - {predictions}:
            (folder / file).unlink(missing_ok=True)
        self.description = description


def load(folder, dataset=None):
    """The model in a folder.

    Raises ValueError if it is no saved model, is damaged, was fitted to other data than `dataset` where one is given,
    or if pretrained weights of its networks are not at hand.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if description.get("format") != FORMAT:
            raise ValueError("it was saved by another version of this project; fit it again")
        read = functools.cache(lambda file: safetensors.numpy.load_file(folder / file))  # what parts share, once
        parts = [_read(part, folder, read) for part in description["parts"]]
        images = _none(description)
    except Exception as error:  # whatever a damaged or foreign file raises
        reason = " ".join(str(error).split()).removesuffix(".") or type(error).__name__
        raise ValueError(f"{folder}: cannot be loaded ({reason}); expected a model as it was saved.") from error
    if dataset is not None and description.get("data") != dataset.fingerprint:
        raise ValueError(f"{folder}: fitted to other data than {dataset.path}, or to another cut of them.")
    return Model(description, parts, images)


def write_table(folder, images, out):
    """Predict images by the model in a folder and write a table: a row per image, a column per neuron.

    images : list of files, or of one folder; see own_images.read. Raises DataError where `out` exists already.
    """
    out, names, model = whole.must_be_new(out), own_images.names(images), load(folder)
    said = {key: model.description[key] for key in ("name", "size", "holds", "seconds for one image")}
    print(", ".join(f"{key}: {value}" for key, value in said.items()), flush=True)
    frame = pd.DataFrame(model.predict(images), index=pd.Index(names, name="image")).add_prefix("neuron ")
    cache.write_whole(out, lambda path: frame.to_csv(path))
    print(f"{out}: (n_images, n_neurons) = {frame.shape}")


def _files(folder):
    """Names of the arrays' files that a folder's model has; none where there is no model, or another's."""
    try:
        said = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        files = [file for part in said["parts"] for file in part["files"].values()]
        return {Path(file).name for file in [*files, said.get("predictions")] if file}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()


def _write(part, folder):
    """Write a part's arrays; what model.json says of it."""
    if isinstance(part, Predictor):
        said = {"kind": "readout", "bandwidth": part.bandwidth, "views": [_said(view) for view in part.views]}
        files = {"readout": part.arrays, "images": {"images": part.images}}
        said |= {"files": {name: _write_arrays(folder, name, arrays) for name, arrays in files.items()}}
        if part.tuned is None:
            return said
        said = {"kind": "located readout of a network", "network": _write(part.tuned, folder), "readout": said}
        return said | {"files": said["network"]["files"] | said["readout"]["files"]}
    arrays = {name: tensor.cpu().numpy() for name, tensor in part.model.state_dict().items()}
    said = {"kind": "network", "run": part.run, "normalisation": _numbers(part.normalisation)}
    said |= _form(part.images)
    # shows that the code builds the same network around the weights
    said["responses to a ramp"] = part.of_ramp().tolist()
    return said | {"files": {"weights": _write_arrays(folder, "fine_tuned", arrays)}}


def _form(images):
    return {"image shape": images.shape[1:], "image type": images.dtype.name}


def _none(said):
    """No images, of the form that `_form` said."""
    return np.empty((0, *said["image shape"]), said["image type"])


def _write_arrays(folder, name, arrays):
    """Write arrays to a file named by its content, so that an older model.json never finds newer arrays."""
    arrays = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    data = safetensors.numpy.save(arrays)
    file = f"{name}-{hashlib.blake2b(data, digest_size=6).hexdigest()}.safetensors"
    cache.write_whole(folder / file, lambda path: path.write_bytes(data))
    return file


def _said(view):
    said = {"network": view.name, "weights": view.weights, "layers": view.layers, "grid": view.grid}
    return said | {"blur": view.blur, "pixels": view.pixels, "normalisation": _numbers(view.normalisation)}


def _numbers(normalisation):
    return [normalisation.mean, normalisation.sd]


def _read(said, folder, read):
    """The part that `_write` wrote. read : of a file's name, returns its arrays"""
    if said["kind"] == "network":
        return _read_tuned(said, folder)
    if said["kind"] == "readout":
        tuned, views = None, [frozen_view(**view) for view in said["views"]]
    else:
        tuned, said = _read_tuned(said["network"], folder), said["readout"]
        own, kept = tuned.view(), ("layers", "grid", "blur")
        views = [own._replace(**{f: v[f] for f in kept}, pixels=tuple(v["pixels"])) for v in said["views"]]
    arrays, images = (read(said["files"][name]) for name in ("readout", "images"))
    return Predictor(views, images["images"], arrays, said["bandwidth"], tuned)


def _read_tuned(said, folder):
    state = safetensors.torch.load_file(folder / said["files"]["weights"])
    images = _none(said)
    n_objects = len(state.get("object_head.bias", ()))
    data = SimpleNamespace(images=images, n_neurons=len(state["neuron_head.bias"]), object_names=range(n_objects))
    normalisation = Normalisation(*map(tuple, said["normalisation"]))
    tuned = Tuned(said["run"], rebuilt(EXPERIMENTS[said["run"]], data, state), normalisation, images)
    before = np.array(said["responses to a ramp"])
    if not np.abs(tuned.of_ramp() - before).max() <= new_images.TOLERANCE * max(np.abs(before).max(), 1):
        raise ValueError(f"{said['run']} predicts otherwise than when it was saved, as the code has changed since")
    return tuned


def rebuilt(experiment, dataset, state):
    """The trained network of a row from its saved weights (a state dict), on the device."""
    model, _ = replace(experiment, pretrained=False).build(dataset, 0)
    model.load_state_dict(state)
    return model.to(accelerator().device)


def frozen_view(network, weights, layers, grid, blur, pixels, normalisation):
    """The View of a frozen network, or of pixels, from what model.json says of it.

    Raises ValueError where it had pretrained weights that are not at hand.
    """
    if network == PIXELS:
        return pixel_view(grid)
    backbone, source = models.load_backbone(network, tuple(pixels), pretrained=weights != models.RANDOM)
    if models.RANDOM == source != weights:
        raise ValueError(f"{network}: its weights, {weights}, are not at hand")
    own = Normalisation(*map(tuple, normalisation))
    return View(backbone, layers, own, tuple(pixels), grid, blur, network, weights)
