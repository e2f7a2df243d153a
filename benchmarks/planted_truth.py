"""Does stage 3's analysis find an effect of the labels that was put in, and none where none was?

    python benchmarks/planted_truth.py [--shares 0 0.5] [--seeds 3] [--n-images 1000 1500 64] [--folder FOLDER]

Stand-ins whose object labels drive no part of the responses, and half of their explainable variance, are analysed as
notebook 3 does: Lite0 trained on true object labels beside the neurons against the same without labels, and against the
same with labels dealt out at random, paired, by the raw losses. Two scores are tried. Explained variance of all of the
responses also counts what any second loss costs; the object part (`labels.object_part_differences`) is what labels can
teach. The declared analysis is the object part, true against shuffled labels: both pay for a second loss. It was
declared on stand-ins of seeds 0 to 2; this uses seed 3. Of true labels against none, the register's question, nothing
is known beforehand where labels drive the neurons, as networks learn objects from the neurons alone: no line is owed.

Many more scenes of each object than the file holds are rendered, as what labels do not drive is centred on each
object's expectation: of few scenes it is known badly, and labels can teach the error, two parts of n of the variance.

Beside it, what an estimate says of each stand-in against what was put in: noise ceiling, share of the explainable
variance between objects, explained variance within objects, and the layers in which labels and local contrast are read
best. There are many val images, as it is the method that is tested, not how little data it gets by with.

The whole setting trains 18 networks and renders 20,064 scenes four times, about 105 minutes of one CPU core.

Writes figures/standin/planted_truth.csv. FOLDER (a temporary one without it) takes stand-ins and runs: a killed command
goes on where it was if it is given the same one.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import cache, datasets, metrics, models, notebook
from helpers.analyses import labels, layer_profile, tables
from helpers.datasets.simulated import neurons, rendering, standin
from helpers.experiments import profiles, runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0
from helpers.models import architecture
from helpers.readout import features, regression

TRUE, NONE = "lite0-bi-objective-published", "lite0-published"
SHUFFLED = f"{TRUE}, shuffled labels"
PAIRS = [("true labels against none", TRUE, NONE), ("true against shuffled labels", TRUE, SHUFFLED)]
DECLARED = ("object part, correlation", "true against shuffled labels")
TOLERANCE = 0.03  # of an estimate, in shares of variance


def effects(dataset, profile, n_seeds):
    """What true labels change by both scores: a frame with a line per score and pair."""
    done = runs.run_all([EXPERIMENTS[TRUE], EXPERIMENTS[NONE]], dataset, profile, seeds=n_seeds)
    shuffled = runs.run_all([EXPERIMENTS[TRUE]], labels.shuffled_labels(dataset), profile, seeds=n_seeds)
    done[SHUFFLED] = shuffled[TRUE]
    found = {
        "all of the responses, explained variance": tables.differences(PAIRS, done, dataset),
        "object part, correlation": labels.object_part_differences(PAIRS, done, dataset),
    }
    frame = pd.concat([lines.assign(quantity=score) for score, lines in found.items()], ignore_index=True)
    return frame.rename(columns={"difference": "found"})[["quantity", "comparison", "found", "low", "high", "verdict"]]


def estimates(dataset, simulated):
    """What is estimated of a stand-in's neurons beside what was planted: a frame of means over neurons.

    dataset : the stand-in, uncut. simulated : `neurons.simulate`'s result for the same images.
    """
    n_train, n_val = len(dataset.train.images), len(dataset.val.images)
    responses, objects = dataset.val.responses, dataset.val.objects
    noise_free = simulated.responses[n_train : n_train + n_val]
    share, reliability = simulated.label_share, simulated.reliability
    ceiling = metrics.noise_ceiling(dataset.val.repeats)
    means, read = (labels.object_mean_prediction(each, objects, objects) for each in (responses, noise_free))
    within = metrics.explained_variance(responses - means, noise_free - read)
    by_accident = len(np.unique(objects)) / n_val  # share of the variance within objects that their means hold
    between_share = means.var(0) / responses.astype(np.float64).var(0)
    between = (between_share - by_accident) / (1 - by_accident) / ceiling
    rows = [
        ("noise ceiling", reliability, ceiling),
        ("share of the explainable variance between objects", share, between),
        (
            "explained variance within objects, of noise-free responses",
            (1 - share) * reliability / (1 - share * reliability),
            within,
        ),
    ]
    lines = [
        {"quantity": name, "planted": np.mean(planted), "found": np.nanmean(found)} for name, planted, found in rows
    ]
    return pd.DataFrame(lines)


def best_layers(dataset, simulated):
    """The stage of frozen lite0 from which each planted part is read best: dict part -> depth, 0 first to 1 last."""
    network, _ = models.load_backbone(LITE0, dataset.images.shape[2:])
    stages = layer_profile.stage_ends(architecture.default_layers(network))
    n_train = len(dataset.train.images)
    view = features.View(network, stages, models.own_normalisation(LITE0), name=LITE0, weights="pretrained")
    grams = features.gram_of_layers(view, dataset.train.images, n_train=n_train)
    depths = {}
    for part in ("local", "label"):
        planted = getattr(simulated, part)[:n_train].astype(np.float32)
        if planted.any():
            scores = [
                regression.ridge(K, planted, folds=datasets.choosing_folds(dataset)).score.mean()
                for K in grams.values()
            ]
            depths[part] = int(np.argmax(scores)) / (len(stages) - 1)
    return depths


def analyse(share, options, folder, profile):
    """All lines of the table for one stand-in."""
    name = f"label-share-{share:g}-seed-{options.standin_seed}-unseen-{options.n_unseen}"
    path, n_images = folder / f"{name}.h5", options.n_images
    if not path.exists():
        standin.write(
            path,
            label_share=share,
            seed=options.standin_seed,
            n_images=n_images,
            pixels=options.pixels,
            n_objects=options.n_objects,
            n_unseen=options.n_unseen,
            repeats=True,
        )
    dataset, n_scenes = datasets.load(path), sum(n_images) + options.n_unseen
    scenes = rendering.render(n_scenes, size=options.pixels, n_objects=options.n_objects, seed=options.standin_seed)
    simulated = neurons.simulate(scenes, n_train=n_images[0], label_share=share, seed=options.standin_seed)
    found = estimates(dataset, simulated)
    found["as_planted"] = (found["found"] - found["planted"]).abs() <= TOLERANCE
    depths = best_layers(dataset, simulated)
    if len(depths) == 2:
        line = {"quantity": "depth of the best layer for labels, above that for local contrast"}
        line |= {"planted": np.nan, "found": depths["label"] - depths["local"]}
        found = pd.concat([found, pd.DataFrame([line | {"as_planted": depths["label"] > depths["local"]}])])
    effect = effects(profile.prepare(dataset), profile, options.seeds)
    is_found, is_there = effect["low"] > 0, (effect["low"] > 0) | (effect["high"] < 0)
    effect["as_planted"] = is_found.where(effect["comparison"] == DECLARED[1]) if share else ~is_there
    effect["declared"] = (effect["quantity"] == DECLARED[0]) & (effect["comparison"] == DECLARED[1])
    return pd.concat([effect, found.assign(declared=False)], ignore_index=True).assign(label_share=share)


def parser():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.5], help="label-driven shares to plant")
    options.add_argument("--seeds", type=int, default=3, help="trained networks a row")
    options.add_argument("--n-images", nargs=3, type=int, default=[1000, 1500, 64], help="train, val and test")
    options.add_argument("--n-unseen", type=int, default=17_500, help="further scenes for expectations")
    options.add_argument("--n-objects", type=int, default=64)
    options.add_argument("--pixels", type=int, default=64)
    options.add_argument("--standin-seed", type=int, default=3)
    options.add_argument("--profile", choices=profiles.PROFILES, default="quick")
    options.add_argument("--folder", type=Path, help="for stand-ins and runs; a temporary one without it")
    options.add_argument("--out", type=Path, default=cache.ROOT / "figures" / "standin" / "planted_truth.csv")
    return options


def main(arguments=None):
    options = parser().parse_args(arguments)
    shares = " ".join(f"{share:g}" for share in options.shares)
    sizes = " ".join(map(str, options.n_images))
    command = f"python benchmarks/planted_truth.py --shares {shares} --seeds {options.seeds} --n-images {sizes}"
    command += f" --n-unseen {options.n_unseen} --standin-seed {options.standin_seed}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        os.environ["IT_RUNS"] = str(folder / "runs")
        profile = profiles.PROFILES[options.profile]
        table = pd.concat([analyse(share, options, folder, profile) for share in options.shares], ignore_index=True)
    table = table.assign(seeds=options.seeds, n_train=options.n_images[0], n_val=options.n_images[1])
    table["made"] = f"{command}; {notebook.stamp()}"
    columns = ["label_share", "quantity", "comparison", "declared", "planted", "found", "low", "high"]
    columns += ["verdict", "as_planted", "seeds", "n_train", "n_val", "made"]
    cache.write_whole(options.out, lambda path: table[columns].to_csv(path, index=False))
    print(tables.SIMULATED)
    print(table[columns[:-4]].round(3).to_string(index=False))


if __name__ == "__main__":
    main()
