"""What a receptive field per neuron is worth, by folds of the training images. Val takes no part.

    python benchmarks/located.py [--data FILE] [--fold-seeds 1 2] [--blurs 0 0.2]

The located readout of the report, against itself with one part taken away, and against the plain sum of all blocks at
two sizes through the same Gaussian kernel. Each is fitted to four folds, its masks, bandwidth and penalties chosen on
these, and predicts the fifth; the blur of maps was chosen on all five. Folds dealt by seed 0 have chosen what the
readout is; others have not. Another blur passes all images through the networks again. Lines go to
benchmarks/located.csv, where those of other data sets and seeds stay: explained variance of the held-out images, and
the paired difference to the located readout with its 95 % interval over images within objects (not corrected for the
number of parts).
"""

import argparse
from pathlib import Path
from unittest import mock

import numpy as np
from recipes import keep

from helpers import datasets, metrics, notebook
from helpers.analyses import frozen_networks, tables
from helpers.experiments.profiles import PROFILES
from helpers.readout import gram_by_place, receptive_fields, regression

TABLE = Path(__file__).parent / "located.csv"
LOCATED, WITHOUT_OUTPUT = "located", "without output stage"


def stacks(dataset, profile, blurs):
    """For each part that is tried its name and Gram matrices of the training images, (n_places, n_train, n_train)."""
    n_train, spec = len(dataset.train.images), frozen_networks.located_spec(dataset, profile)
    whole = frozen_networks.kernel(spec, dataset)[:, :n_train, :n_train]
    yield LOCATED, whole
    yield "without receptive fields", whole.sum(0, keepdims=True)
    yield WITHOUT_OUTPUT, whole
    yield "one size", sum(stack[:, :n_train, :n_train] for stack in spec.kernels[0][::2])  # the first of each network's
    rows = frozen_networks.specs(dataset, profile).items()
    plain = next(row for name, row in rows if name.endswith("sum of blocks at two sizes"))
    yield "plain sum of blocks", frozen_networks.kernel(plain, dataset)[None, :n_train, :n_train].astype(np.float32)
    for blur in blurs:
        views = spec.views()
        of_blur = [view._replace(blur=blur) for view in views]
        of_blur = gram_by_place.stack_of(of_blur, dataset.train.images, n_train=n_train)
        yield f"blur {blur:g} for {views[0].blur:g}", of_blur


def compare(dataset, profile, options):
    """A line per seed of folds and part."""
    responses, objects = dataset.train.responses, dataset.train.objects
    folds = {seed: datasets.folds(objects, datasets.N_FOLDS, seed=seed) for seed in options.fold_seeds}
    located, lines = {}, []
    for part, stack in stacks(dataset, profile, options.blurs):
        prior = 1e12 if part == WITHOUT_OUTPUT else receptive_fields.OUTPUT_PRIOR
        for seed, of_seed in folds.items():
            with mock.patch.object(receptive_fields, "OUTPUT_PRIOR", prior):
                predicted = regression.cross_predict(receptive_fields.ridge, stack, responses, of_seed)
            score = float(np.nanmean(metrics.explained_variance(responses, predicted)))
            line = {"data": dataset.name, "simulated": dataset.is_standin, "fold_seed": seed, "part": part}
            line["explained_variance"] = score
            if part == LOCATED:
                located[seed] = predicted
            else:
                paired = metrics.interval(responses, predicted, objects, against=located[seed])
                line |= tables.difference_columns(paired)
            lines.append(line | {"n_train": len(responses), "pixels": max(dataset.images.shape[2:])})
            print(f"folds of seed {seed}, {part}: {score:.4f} {line.get('verdict', '')}", flush=True)
    return lines


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--data", help="data file; without it $IT_DATA, data/IT_data.h5 or the stand-in")
    options.add_argument("--fold-seeds", nargs="+", type=int, default=[1, 2], help="by which folds are dealt")
    options.add_argument("--blurs", nargs="*", type=float, default=[], help="sd in shares of the image")
    options.add_argument("--profile", choices=PROFILES, default="quick", help="images and pixels")
    options = options.parse_args()
    profile = PROFILES[options.profile]
    dataset = profile.prepare(datasets.load(options.data))
    data = f" --data {Path(options.data).name}" if options.data else ""
    seeds, blurs = (" ".join(map(str, some)) for some in (options.fold_seeds, options.blurs))
    command = f"python benchmarks/located.py{data} --fold-seeds {seeds}" + (f" --blurs {blurs}" if blurs else "")
    command += f" --profile {profile.name}" if profile.name != "quick" else ""
    lines, made = compare(dataset, profile, options), f"{command}; {notebook.stamp()}"
    keep([line | {"made": made} for line in lines], TABLE, key=("data", "pixels", "fold_seed", "part"))
    print(f"written to {TABLE}")


if __name__ == "__main__":
    main()
