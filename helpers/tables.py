"""The results table: every row with its scores, their spread and interval, and the published numbers beside it."""

import numpy as np
import pandas as pd

from helpers import metrics, models
from helpers.experiments import published_rows
from helpers.runs import command

SIMULATED = (
    "Simulated responses. Rankings and label effects are built in by construction. "
    "Not comparable with published IT scores."
)


def ceiling_of(dataset):
    """Noise ceiling per neuron from the file's repeats (n_neurons,), or the published reliability where it has none.

    Returns the ceiling and a sentence that says which it is.
    """
    if dataset.val.repeats is None:
        sentence = (
            f"The file has no repeats: scores are normalised by the reliability published for this population, "
            f"{metrics.PUBLISHED_RELIABILITY} (Majaj, Hong et al. 2015)."
        )
        return metrics.PUBLISHED_RELIABILITY, sentence
    ceiling = metrics.noise_ceiling(dataset.val.repeats)
    left_out = int((~(ceiling >= metrics.MINIMUM_RELIABILITY)).sum())
    sentence = (
        f"Noise ceiling from the val images' repeats: {np.nanmean(ceiling):.2f} of the variance on average over "
        f"{dataset.n_neurons} neurons; {left_out} below {metrics.MINIMUM_RELIABILITY} "
        "are left out of normalised means only."
    )
    return ceiling, sentence


def score_predictions(predictions, dataset):
    """Scores of val predictions (n_images, n_neurons), or of several seeds' (n_seeds, n_images, n_neurons), as a dict.

    Means over neurons (and seeds); the interval of explained variance is over images within objects and seeds.
    """
    responses, objects = dataset.val.responses, dataset.val.objects
    predictions = predictions if np.ndim(predictions) == 3 else np.asarray(predictions)[None]
    explained = np.array([metrics.explained_variance(responses, p) for p in predictions])  # (n_seeds, n_neurons)
    correlations = np.array([metrics.correlation(responses, p) for p in predictions])
    interval = metrics.interval(responses, predictions, objects)
    ceiling, _ = ceiling_of(dataset)
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
    published = published_rows()
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
            line |= score_predictions(np.array([run.val for run in runs]), dataset)
            line |= {key: info[key] for key in ("weights", "epochs", "n_train", "hardware", "date")}
            line["seeds"] = len(runs)
            line["seconds"] = np.mean([run.info["seconds"] for run in runs])
            line["state"] = "run"
            if experiment.pretrained and info["weights"] == models.RANDOM:
                line["state"] = "run from random weights"
            if runs[0].object_accuracy is not None:
                line["object_accuracy"] = np.mean([run.object_accuracy for run in runs])
        else:
            line["state"] = command(experiment)
        row = published.get(experiment.row, {})
        for score in ("explained_variance", "correlation", "rerun_explained_variance", "rerun_correlation"):
            line[f"published_{score}"] = row.get(score)
        lines.append(line)
    return pd.DataFrame(lines)


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
