"""Which candidate for the best model is best on other folds than notebook 4's: readouts, tuned networks, their means.

    python benchmarks/candidates.py [--data FILE] [--folds 3 4] [--rows lite0-repaired lite1-repaired lite2-repaired]

On every fold all candidates are made anew, tuning included, from the other folds' images, as notebook 4 does on its one
fold. What readouts offer was chosen on all folds of V4 and of the stand-in, blur included, which favours them; that all
parts of a mean count the same, on folds 3 and 4 of V4. Writes benchmarks/candidates.csv, where lines of other data sets
and folds stay: explained variance of the held-out images, and the paired difference to the frozen networks' readout
with a receptive field per neuron, with its 95 % interval over images within objects (one seed; not corrected for the
number of candidates). Val takes no part.
"""

import argparse
from pathlib import Path

import numpy as np
from recipes import keep

from helpers import datasets, metrics, notebook
from helpers.analyses import best_model, tables
from helpers.analyses.frozen_networks import LOCATED
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.experiments.profiles import PROFILES
from helpers.plots import readable

TABLE = Path(__file__).parent / "candidates.csv"


def held_out(dataset, profile, folds, rows):
    """Dict name -> predictions of the folds' held-out images (n_images, n_neurons), and the images' indices."""
    tuned = [EXPERIMENTS[name] for name in rows]
    found = [best_model.candidates(dataset, profile, fold=fold, tuned=tuned) for fold in folds]
    in_all = [name for name in found[0][0] if all(name in candidates for candidates, _ in found)]
    predictions = {name: np.concatenate([candidates[name].held_out for candidates, _ in found]) for name in in_all}
    return predictions, np.concatenate([index for _, index in found])


def lines(predictions, responses, objects):
    """A line per candidate, the best first."""
    against = next(predictions[name] for name in predictions if name.endswith(LOCATED) and "mean of" not in name)
    found = []
    for name, predicted in predictions.items():
        score = np.nanmean(metrics.explained_variance(responses, predicted))
        line = {"model": readable(name), "explained_variance": score}
        line |= tables.difference_columns(metrics.interval(responses, predicted, objects, against=against))
        found.append(line | ({"verdict": ""} if predicted is against else {}))
    return sorted(found, key=lambda line: -line["explained_variance"])


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--data", help="data file; without it $IT_DATA, data/IT_data.h5 or the stand-in")
    options.add_argument("--folds", nargs="+", type=int, choices=range(datasets.N_FOLDS), default=[3, 4])
    rows = [f"lite{n}-repaired" for n in range(3)]
    options.add_argument("--rows", nargs="+", choices=EXPERIMENTS, default=rows, help="fine-tuned rows")
    options.add_argument("--profile", choices=PROFILES, default="quick", help="images and pixels")
    options = options.parse_args()
    profile = PROFILES[options.profile]
    dataset = profile.prepare(datasets.load(options.data))
    predictions, index = held_out(dataset, profile, options.folds, options.rows)
    folds = " ".join(map(str, options.folds))
    data = f" --data {Path(options.data).name}" if options.data else ""
    made = f"python benchmarks/candidates.py{data} --folds {folds} --rows {' '.join(options.rows)}; {notebook.stamp()}"
    same = {"data": dataset.name, "simulated": dataset.is_standin}
    last = {"folds": folds, "n_held_out": len(index), "profile": profile.name, "made": made}
    found = lines(predictions, dataset.train.responses[index], dataset.train.objects[index])
    keep([same | line | last for line in found], TABLE, key=("data", "folds", "model"))
    print(f"written to {TABLE}")


if __name__ == "__main__":
    main()
