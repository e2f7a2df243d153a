"""What each part of the repaired recipes is worth: an ablation by folds of the training images. Val takes no part.

    python benchmarks/recipes.py [--data FILE] [--networks lite0 vit_tiny shallow] [--folds 2 3] [--seeds 3]
    python benchmarks/recipes.py --networks lite0 --variants published without-translation     some variants alone

A variant is the repaired recipe with one part taken away or changed, or the published recipe, whole. Rates and epochs
were chosen on fold 0, the shallow CNN's batches on fold 1: the evidence comes from the others. Runs lie in the
cache of runs: a killed ablation goes on where it was. Rows go to benchmarks/recipes.csv, where those of other data
sets, networks and variants stay: explained variance of the held-out images, and the paired difference to the repaired
recipe with its 95 % interval over images within objects and seeds (not corrected for the number of variants).
"""

import argparse
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import cache, datasets, metrics, notebook
from helpers.analyses import tables
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import CNN, EXPERIMENTS
from helpers.experiments.profiles import PROFILES
from helpers.training.recipe import CONSTANT, Recipe

TABLE = Path(__file__).parent / "recipes.csv"
REPAIRED, PUBLISHED = "repaired", "published"
TWICE_THE_EPOCHS = "twice the epochs"

# network -> its row of the results table, and whether it starts from pretrained weights
NETWORKS = {"lite0": ("lite0", True), "vit_tiny": ("vit-tiny", False), "shallow": ("shallow-dropout-l2", False)}

# What is taken away or changed -> fields of Recipe or Experiment. Heads trained along with the backbone are no single
# change, as they need a start and a rate of their own: the published recipe has them.
ANY = {
    "without translation": {"translation": 0.0},
    "constant rate": {"schedule": CONSTANT},
}
BACKBONE = ANY | {
    "frozen backbone": {"learning_rate": 0.0, "epochs": 1},  # the start: ridge on the same stages
    "one head that has seen all images": {"ridge_heads": 1},
    "pooled output for the grid of stages": {"stages": None},
    "twice the rate": {"learning_rate": 2 * CNN.learning_rate},
}
PARTS = {
    "lite0": BACKBONE,
    "vit_tiny": BACKBONE,  # random weights: layer-wise rates do not apply
    "shallow": ANY
    | {
        "loss not standardised": {"standardised": False},
        "rate of 1e-3": {"learning_rate": 1e-3},
        "batches of 32": {"batch_size": 32},
        "without weight decay": {"weight_decay": 0.0},
        "without dropout": {"dropout_applied": False},
    },
}


def slug(words):
    return words.replace(",", "").replace(" ", "-")


def variants(network):
    """Dict variant -> Experiment of one network, repaired first."""
    row, pretrained = NETWORKS[network]
    repaired, published = (EXPERIMENTS[f"{row}-{recipe}"] for recipe in (REPAIRED, PUBLISHED))
    if repaired.pretrained and not pretrained:
        repaired, published = (
            replace(e, name=e.name.replace(row, f"{row}-random"), pretrained=False) for e in (repaired, published)
        )
    twice = {"epochs": 2 * repaired.recipe.epochs}
    of_recipe = {field.name for field in fields(Recipe)}
    found = {REPAIRED: repaired, PUBLISHED: published}
    for words, changes in (PARTS[network] | {TWICE_THE_EPOCHS: twice}).items():
        recipe = replace(repaired.recipe, **{key: value for key, value in changes.items() if key in of_recipe})
        others = {key: value for key, value in changes.items() if key not in of_recipe}
        found[words] = replace(repaired, name=f"{repaired.name}~{slug(words)}", recipe=recipe, **others)
    return found


def train(experiment, dataset, profile, options):
    """Run one variant with each seed and fold: a dict of predictions, weights and what the runs cost.

    predictions : of the held-out images, fold after fold, (n_seeds, n_images, n_neurons). seconds : of one run
    """
    done = [
        [runs.run(experiment, dataset, profile, seed=seed, held_out_fold=fold) for fold in options.folds]
        for seed in range(options.seeds)
    ]
    infos = [run.info for of_seed in done for run in of_seed]
    scored = {"predictions": np.array([np.concatenate([run.held_out for run in of_seed]) for of_seed in done])}
    scored |= {"weights": infos[0]["weights"], "seeds": len(done), "diverged": sum(info["diverged"] for info in infos)}
    scored["seconds"] = float(np.mean([info["seconds"] for info in infos]))
    return scored | {key: infos[0][key] for key in ("epochs", "recipe_epochs", "n_train")}


def line(scored, repaired, responses, objects):
    """Explained variance of one variant, and its difference to the repaired recipe."""
    predictions = scored["predictions"]
    by_seed = [np.nanmean(metrics.explained_variance(responses, predicted)) for predicted in predictions]
    found = {"explained_variance": np.mean(by_seed), "seed_sd": np.std(by_seed, ddof=1) if len(by_seed) > 1 else None}
    if scored is not repaired:
        paired = metrics.interval(responses, predictions, objects, against=repaired["predictions"])
        found |= tables.difference_columns(paired)
    return found | {key: value for key, value in scored.items() if key != "predictions"}


def told(variant, found):
    """One line for the reader of the terminal."""
    spread = "" if found["seed_sd"] is None else f", sd over seeds {found['seed_sd']:.3f}"
    paired = ""
    if "difference" in found:
        paired = f"; to repaired {found['difference']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
    return f"{variant}: {found['explained_variance']:.3f}{spread}{paired}"


def ablate(network, dataset, profile, options):
    """Run the chosen variants of one network: a list of the table's lines."""
    experiments_of = variants(network)
    dataset = profile.training_data(experiments_of[REPAIRED], dataset)
    chosen = options.variants or [slug(words) for words in experiments_of]
    chosen = {words: e for words, e in experiments_of.items() if words == REPAIRED or slug(words) in chosen}
    held_out_index = np.concatenate([datasets.fold_of(dataset, fold)[1] for fold in options.folds])
    responses, objects = dataset.train.responses[held_out_index], dataset.train.objects[held_out_index]
    n_runs = options.seeds * len(options.folds)
    print(
        f"{network} on {dataset.name}: {len(chosen)} variants, {n_runs} runs each, "
        f"{len(held_out_index)} held-out images",
        flush=True,
    )
    scored, lines, spent = {}, {}, 0.0
    for done, (words, experiment) in enumerate(chosen.items(), 1):
        scored[words] = train(experiment, dataset, profile, options)
        lines[words] = line(scored[words], scored[REPAIRED], responses, objects)
        spent += scored[words]["seconds"] * n_runs
        left = spent / done * (len(chosen) - done) / 60
        print(f"{told(words, lines[words])}  ({done} of {len(chosen)}, at most {left:.0f} min left)", flush=True)
    same = {"data": dataset.name, "simulated": dataset.is_standin, "network": network}
    last = {"folds": " ".join(map(str, options.folds)), "n_held_out": len(held_out_index), "profile": profile.name}
    last |= {"pixels": max(dataset.images.shape[2:]), "made": f"{command(network, options)}; {notebook.stamp()}"}
    return [same | {"variant": words} | found | last for words, found in lines.items()]


def command(network, options):
    """The command that makes a network's lines again."""
    data = f" --data {Path(options.data).name}" if options.data else ""
    folds = " ".join(map(str, options.folds))
    few = f" --n-train {options.n_train}" if options.n_train else ""
    return f"python benchmarks/recipes.py{data} --networks {network} --folds {folds} --seeds {options.seeds}{few}"


def keep(lines, path, key=("data", "network", "variant")):
    """Put lines into the table, in place of those of the same key, sorted by all of it but its last; others stay."""
    key, table = list(key), pd.DataFrame(lines)
    if path.exists():
        table = pd.concat([pd.read_csv(path), table]).drop_duplicates(key, keep="last")
    counts = ["seeds", "diverged", "epochs", "recipe_epochs", "n_train", "n_held_out", "pixels"]
    table = table.astype({count: "Int64" for count in counts if count in table})
    table = table.round(4).sort_values(key[:-1], kind="stable")
    cache.write_whole(path, lambda beside: table.to_csv(beside, index=False))


def main(arguments=None):
    known = {slug(words) for parts in PARTS.values() for words in parts} | {PUBLISHED, slug(TWICE_THE_EPOCHS)}
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--data", help="data file; without it $IT_DATA, data/IT_data.h5 or the stand-in")
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--variants", nargs="+", choices=sorted(known), help="beside repaired; all without it")
    options.add_argument(
        "--folds", nargs="+", type=int, choices=range(datasets.N_FOLDS), default=[2, 3], help="held out"
    )
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--profile", choices=PROFILES, default="quick", help="images and pixels")
    options.add_argument("--n-train", type=int, help="training images; the profile's without it")
    options.add_argument("--table", type=Path, default=TABLE)
    options = options.parse_args(arguments)
    profile = PROFILES[options.profile]
    if options.n_train:
        profile = replace(profile, n_train=options.n_train)
    dataset = profile.prepare(datasets.load(options.data))
    for network in options.networks:
        keep(ablate(network, dataset, profile, options), options.table)
    print(f"written to {options.table}")


if __name__ == "__main__":
    main()
