"""Readouts of frozen networks as rows: a block, sums of blocks, networks and image sizes; pixels, the object mean.

What a row predicts is kept beside the runs and found again while data, settings, weights and code are the same.
"""

import hashlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from helpers import datasets, metrics, models, progress, readout, runs, tables, training
from helpers.experiments import EXPERIMENTS, LITE0

FAMILY = (LITE0, "tf_efficientnet_lite1.in1k", "tf_efficientnet_lite2.in1k")
TINY = ("blocks.1.1", "blocks.3.2")  # layers of lite0 that stand for all in the tests' profile
PIXEL_SIDE = 32  # pixel readouts see images of so many pixels a side
# The second size at which networks see the images, and how many stages take part in it: chosen, as readout.BANDWIDTHS
# were, by folds of V4 recordings and of the stand-in. With all seven stages: .361 for .366, and .466 for .478.
ZOOM, ZOOMED_STAGES = 1.5, 4


class RowSpec(NamedTuple):
    """What a readout row is fitted on and how.

    kernels : groups of Gram matrices, read from disk when used; every group counts the same in their sum, and every
        matrix in its group. None for the pixels'
    fit : `readout.ridge` or `readout.gaussian_ridge`
    """

    kernels: list[list] | None
    fit: Callable = readout.ridge


class Row(NamedTuple):
    """Predictions of one readout: arrays of shape (n_images, n_neurons) in the units of the file.

    `held` are the training images, each predicted by a fit that saw neither it nor its fold.
    """

    held: np.ndarray
    val: np.ndarray
    test: np.ndarray


class Blocks(NamedTuple):
    """Ridge readouts of single blocks, each by a dict layer -> array.

    score : (n_neurons,), cross-validated explained variance inside the training images: what blocks are chosen by
    val, test : predictions of shape (n_images, n_neurons)
    source : where the network's weights came from
    """

    score: dict
    val: dict
    test: dict
    source: str


def stage_ends(layers):
    """The last block of each stage: of blocks.3.0, blocks.3.1 and blocks.3.2 the last."""
    return list({layer.rpartition(".")[0]: layer for layer in layers}.values())


def choosing_folds(dataset):
    """Folds of the training images by which readouts are tuned and chosen: stratified over objects."""
    objects = dataset.train.objects
    return datasets.folds(objects, min(runs.N_FOLDS, len(objects)), seed=0)


def kernels(tag, dataset, profile, *, pretrained=True):
    """Gram matrices of a network's blocks by `runs.kernels`, and its weights' source.

    With random weights the last block of each stage only. In the tests' profile: two blocks.
    """
    layers = TINY if profile.name == "tiny" else None if pretrained else _stage_ends_of(tag, dataset)
    return runs.kernels(tag, dataset, pretrained=pretrained, layers=layers)


def block_sum(tag, dataset, profile, *, zoom=1.0):
    """The Gram matrix of all blocks of a pretrained network, each divided by its mean training diagonal.

    Of images `zoom` times their size: of the last block of each of the last ZOOMED_STAGES stages.
    """
    layers = TINY if profile.name == "tiny" else None if zoom == 1 else _stage_ends_of(tag, dataset)[-ZOOMED_STAGES:]
    grams, _ = runs.kernels(tag, dataset, layers=layers, zoom=zoom, summed=True)
    return grams["sum"]


def _stage_ends_of(tag, dataset):
    with torch.device("meta"):  # names alone
        network, _ = models.load_trunk(tag, dataset.images.shape[2:], pretrained=False)
    return stage_ends(readout.default_layers(network))


def pixel_kernel(dataset):
    """Gram matrix of all images' pixels, at most PIXEL_SIDE a side."""
    return readout.pixel_gram(dataset.images, n_train=len(dataset.train.images), size=PIXEL_SIDE)


def block_readouts(tag, dataset, profile, *, pretrained=True):
    """Ridge from each block of a frozen network: `Blocks`."""
    grams, source = kernels(tag, dataset, profile, pretrained=pretrained)

    def compute():
        arrays, folds = {}, choosing_folds(dataset)
        for done, (layer, K) in enumerate(grams.items(), 1):
            print(f"\r{_short(tag, source)}: ridge from block {done} of {len(grams)} ", end="", flush=True)
            found = readout.ridge(K, dataset.train.responses, folds=folds)
            arrays |= {f"score {layer}": found.score} | _by_role(layer, found.predictions, dataset)
        print(flush=True)
        return arrays

    settings = {"readouts": _key(grams.values())}
    variant = f"readouts-{'random' if source == models.RANDOM else 'pretrained'}"
    arrays = _remembered(dataset, tag, variant, settings, compute)
    parts = [{layer: arrays[f"{part} {layer}"] for layer in grams} for part in ("score", "val", "test")]
    return Blocks(*parts, source)


def best_block(blocks):
    """Name of the block with the best cross-validated score, a mean over neurons."""
    return max(blocks.score, key=lambda layer: blocks.score[layer].mean())


def row_specs(dataset, profile):
    """What each readout row is fitted on: dict name -> RowSpec.

    lite1 and lite2 take part where their weights are at hand; a lite0 without its weights says so in the rows' names.
    Every network counts the same, whatever its blocks. At two sizes: the last stages' ends also see the images `ZOOM`
    times as large, and every size counts the same.
    """
    blocks = block_readouts(LITE0, dataset, profile)
    grams, source = kernels(LITE0, dataset, profile)
    name = _short(LITE0, source)
    rows = {
        "pixels": RowSpec(None),
        f"{name}: best single block": RowSpec([[grams[best_block(blocks)]]]),
        f"{name}: sum of blocks": RowSpec([list(grams.values())]),
    }
    others = []
    if profile.name != "tiny" and source != models.RANDOM:
        others = [tag for tag in FAMILY[1:] if models.find_weights(tag)[1] != models.RANDOM]
    name = " + ".join([name, *(_short(tag, "") for tag in others)])
    once = [list(grams.values()), *([block_sum(tag, dataset, profile)] for tag in others)]
    zoomed = [[block_sum(tag, dataset, profile, zoom=ZOOM)] for tag in (LITE0, *others)]
    if others:
        rows[f"{name}: sum of blocks"] = RowSpec(once)
    rows[f"{name}: sum of blocks at two sizes"] = RowSpec(once + zoomed)
    rows[f"{name}: sum of blocks at two sizes, Gaussian"] = RowSpec(once + zoomed, readout.gaussian_ridge)
    return rows


def readout_rows(dataset, profile):
    """Every readout that stands beside trained networks, best single block and sums chosen by folds: dict name -> Row.

    The best single block is chosen on the folds that also score it, which can only favour it.
    """
    return {
        name: Row(
            **_remembered(
                dataset,
                "readouts",
                _slug(name),
                _settings(name, spec),
                lambda name=name, spec=spec: _row(name, spec, dataset),
            )
        )
        for name, spec in row_specs(dataset, profile).items()
    }


def _row(name, spec, dataset):
    K, responses, folds = row_kernel(spec, dataset), dataset.train.responses, choosing_folds(dataset)
    fit = _with_progress(spec.fit, f"{name}: fits", 1 + len(folds))
    predictions = fit(K, responses, folds=folds).predictions
    held = readout.cross_predict(fit, K, responses, folds)
    return {"held": held} | {part.split()[0]: array for part, array in _by_role("", predictions, dataset).items()}


def held_out_objects(dataset, profile):
    """The same readouts for objects they have not seen: dict name -> predictions of the training images.

    Folds hold out whole objects, and inside a fold penalty and bandwidth are chosen on further whole objects. The
    object mean, for which there is nothing to go by, predicts the mean of the other objects. Raises ValueError if there
    are fewer objects than folds.
    """
    folds = datasets.object_folds(dataset.train.objects, runs.N_FOLDS, seed=0)
    rows = {"object mean": object_mean_held(dataset, folds)}
    for name, spec in row_specs(dataset, profile).items():

        def compute(name=name, spec=spec):
            K = row_kernel(spec, dataset)
            fit = _with_progress(spec.fit, f"{name}: fits by folds over objects", len(folds))
            return {"held": readout.cross_predict(fit, K, dataset.train.responses, folds)}

        settings = _settings(name, spec) | {"folds": "objects"}
        rows[name] = _remembered(dataset, "readouts", f"objects-{_slug(name)}", settings, compute)["held"]
    return rows


def held_differences(pairs, held, dataset):
    """Paired differences of out-of-fold scores over the training images, as `tables.differences` has them for val.

    pairs : list of (name, name compared with). held : dict name -> predictions (n_train, n_neurons). Returns a frame
    with columns comparison, difference, low, high (corrected for the number of pairs) and verdict.
    """
    lines = []
    for name, against in pairs:
        found = metrics.paired_interval(
            dataset.train.responses, held[name], held[against], dataset.train.objects, comparisons=len(pairs)
        )
        line = {"comparison": f"{name} against {against}", "difference": found.estimate}
        line |= {"low": found.low, "high": found.high, "verdict": tables.verdict(found.low, found.high)}
        lines.append(line)
    return pd.DataFrame(lines)


def object_mean(dataset):
    """The control that knows an image's object and nothing else, as a Row."""
    train = dataset.train
    val, test = (
        metrics.object_mean_prediction(train.responses, train.objects, split.objects)
        for split in (dataset.val, dataset.test)
    )
    return Row(object_mean_held(dataset, choosing_folds(dataset)), val, test)


def object_mean_held(dataset, folds):
    """Each training image predicted by the mean of its object's images in the other folds: (n_train, n_neurons)."""
    responses, objects = dataset.train.responses, dataset.train.objects
    predictions = np.empty(responses.shape)
    for fit, held in folds:
        predictions[held] = metrics.object_mean_prediction(responses[fit], objects[fit], objects[held])
    return predictions


def row_kernel(spec, dataset):
    """The one Gram matrix (n_images, n_images) that a RowSpec is fitted on."""
    if spec.kernels is None:
        return pixel_kernel(dataset)
    n_train = len(dataset.train.images)
    return readout.combine([readout.combine(group, n_train=n_train) for group in spec.kernels], n_train=n_train)


def kernel_files(spec):
    """Which Gram matrices a RowSpec sums; changes with network, weights, layers, data and code."""
    return [PIXEL_SIDE] if spec.kernels is None else _key(itertools.chain(*spec.kernels))


def fitted(spec, dataset):
    """A RowSpec fitted to all training images, as a readout.Readout."""
    return spec.fit(row_kernel(spec, dataset), dataset.train.responses, folds=choosing_folds(dataset))


def _by_role(layer, predictions, dataset):
    n_val = len(dataset.val.images)
    return {
        f"val {layer}": predictions[:n_val].astype(np.float32),
        f"test {layer}": predictions[n_val:].astype(np.float32),
    }


def _short(tag, source):
    """lite0 from tf_efficientnet_lite0.in1k; random weights are named."""
    name = tag.partition(".")[0].removeprefix("tf_efficientnet_")
    return f"{name} (random weights)" if source == models.RANDOM else name


def _slug(name):
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _with_progress(fit, label, n_fits):
    """The same function with a line of progress after each of n_fits calls."""
    began, done = time.monotonic(), itertools.count(1)

    def call(K, responses, *, folds):
        found = fit(K, responses, folds=folds)
        progress.show(label, began, next(done), n_fits)
        return found

    return call


def _settings(name, spec):
    return {"row": name, "kernels": kernel_files(spec), "fit": spec.fit.__name__}


def _key(kernels):
    """The files of Gram matrices; their folder's name holds a hash of network, weights, data and code."""
    return ["/".join(Path(K.filename).parts[-2:]) for K in kernels]


def _remembered(dataset, name, variant, settings, compute):
    """The arrays that `compute` returned when it was called with these settings, else those it returns now."""
    here = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=8).hexdigest()
    settings = settings | {"data": dataset.fingerprint, "code": runs.code_hash(), "layers": here}
    path = runs.run_folder(dataset, name, variant, settings) / "predictions.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except Exception as error:  # whatever a damaged file raises, its arrays are made again
            training.set_aside(path, error)
    arrays = compute()
    training.write_whole(path, lambda path: runs.save_arrays(path, arrays))
    return arrays


def print_profile(dataset, profile):
    """Print what simple models score on val, the check that a stand-in is neither trivial nor hopeless."""
    responses, n_train = dataset.train.responses, len(dataset.train.images)
    scored = {}
    predictions = readout.ridge(pixel_kernel(dataset), responses, folds=choosing_folds(dataset)).predictions
    scored["pixels, ridge"] = predictions[: len(dataset.val.images)]
    for pretrained in (False, True):
        blocks = block_readouts(LITE0, dataset, profile, pretrained=pretrained)
        for layer in stage_ends(blocks.val):
            scored[f"lite0 {layer}, weights: {blocks.source}"] = blocks.val[layer]
    for name in ("shallow-dropout-l2-published", "shallow-dropout-l2-repaired"):
        scored[name] = runs.run(EXPERIMENTS[name], dataset, profile).val
    print(f"explained variance on val, {n_train} training images of {dataset.images.shape[2:]} pixels")
    for name, predicted in scored.items():
        print(f"{np.nanmean(metrics.explained_variance(dataset.val.responses, predicted)):6.3f}  {name}")


def block_scores_held_out_objects(dataset, profile):
    """Explained variance by block, cross-validated over folds of whole objects, the last block of each stage.

    Returns dict 'trained weights', 'random weights' -> dict layer -> mean over neurons.
    """
    folds = datasets.object_folds(dataset.train.objects, runs.N_FOLDS, seed=0)
    random, _ = kernels(LITE0, dataset, profile, pretrained=False)
    trained, _ = kernels(LITE0, dataset, profile)

    def compute():
        grams = {f"trained weights {layer}": trained[layer] for layer in random}
        grams |= {f"random weights {layer}": K for layer, K in random.items()}
        return {key: readout.ridge(K, dataset.train.responses, folds=folds).score for key, K in grams.items()}

    settings = {"blocks": _key([*trained.values(), *random.values()]), "folds": "objects"}
    scores = _remembered(dataset, "readouts", "objects-blocks", settings, compute)
    weights = ("trained weights", "random weights")
    return {name: {layer: float(np.mean(scores[f"{name} {layer}"])) for layer in random} for name in weights}


def weighted_and_plain_sum(dataset, profile):
    """Out-of-fold predictions of multiple-kernel ridge over lite0's early, middle and late blocks, and of their sum."""
    grams, _ = kernels(LITE0, dataset, profile)
    n_train, folds = len(dataset.train.images), choosing_folds(dataset)
    thirds = [
        readout.combine([grams[layer] for layer in third], n_train=n_train) for third in np.array_split(list(grams), 3)
    ]
    weighted = readout.cross_predict(readout.multiple_kernel_ridge, np.stack(thirds), dataset.train.responses, folds)
    plain = readout.combine(thirds, n_train=n_train)
    return weighted, readout.cross_predict(readout.ridge, plain, dataset.train.responses, folds)


def tuned_trunk_row(experiment, dataset, profile):
    """Val predictions of ridge on the sum of a fine-tuned trunk's blocks (seed 0), and their mean with the network.

    The trunk has seen all training images, so there are no out-of-fold predictions of this row, and it is no candidate
    for the best model.
    """
    finished = runs.run(experiment, dataset, profile)
    limited, cut = profile.limit(experiment, dataset)

    def compute():
        state = safetensors.torch.load_file(finished.folder / "weights.safetensors")
        model, normalisation = runs.rebuild(limited, cut, state)
        return {"val": _ridge_on_trunk(model.trunk, cut, normalisation)}

    settings = {"tuned trunk": finished.folder.name}
    predicted = _remembered(cut, "readouts", f"tuned-{experiment.name}", settings, compute)["val"]
    return predicted, (predicted + finished.val) / 2


def _ridge_on_trunk(trunk, dataset, normalisation):
    n_train = len(dataset.train.images)
    names = readout.default_layers(trunk)
    grams = readout.gram(trunk, dataset.images, names, normalisation=normalisation, n_train=n_train, grid=7)
    K = readout.combine(list(grams.values()), n_train=n_train)
    return readout.ridge(K, dataset.train.responses, folds=choosing_folds(dataset)).predictions[
        : len(dataset.val.images)
    ]
