"""How well responses are predicted: one value per neuron, computed in float64; means over neurons are taken last.

Explained variance and correlation, the noise ceiling from repeated trials, the part of a score that object identity
carries, and intervals for a mean over neurons that hold for new images and new training seeds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t
from sklearn.metrics import explained_variance_score

# Reliability published for the course's IT population (Majaj, Hong et al. 2015, J. Neurosci. 35:13402, as Brain-Score
# uses it). Without repeats it stands in for the noise ceiling: it bounds explained variance, its root correlation.
PUBLISHED_RELIABILITY = 0.82
MINIMUM_RELIABILITY = 0.2  # below this, dividing by a neuron's ceiling magnifies noise more than it tells


@dataclass(frozen=True)
class Interval:
    """An estimate, the mean over neurons and seeds, between the two ends of its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class ObjectSplit:
    """Explained variance of each part and the share of response variance between objects: arrays (n_neurons,).

    ``between_share * between + (1 - between_share) * within`` is the explained variance.
    """

    between: np.ndarray
    within: np.ndarray
    between_share: np.ndarray


def explained_variance(responses, predictions):
    """1 - Var[responses - predictions] / Var[responses] per neuron: scikit-learn's ``explained_variance_score``.

    responses, predictions : arrays of shape (n_images, n_neurons). Returns (n_neurons,) float64; 1 is best, 0 a
    constant prediction. A constant response gets NaN (scikit-learn: 0 or 1), as there was nothing to explain; take
    means with ``np.nanmean``. Raises ValueError for unlike shapes, values that are not finite, or a single image.
    """
    responses, predictions = _checked(responses, predictions)
    score = explained_variance_score(responses, predictions, multioutput="raw_values")
    return np.where(_is_constant(responses), np.nan, score)


def correlation(responses, predictions):
    """Pearson correlation per neuron; shapes and errors are those of `explained_variance`.

    A constant prediction says nothing about the images and gets 0; a constant response gets NaN.
    """
    responses, predictions = _checked(responses, predictions)
    uniform = np.full((1, len(responses)), 1 / len(responses))
    return _correlation(*_moments(responses, predictions, uniform))[0]


def noise_ceiling(repeats):
    """Explainable share of the variance of the trial-averaged responses, which bounds a model's explained variance.

    Signal power over the power of the averages (Sahani & Linden 2003, NIPS 15; Schoppe et al. 2016, Front. Comput.
    Neurosci. 10:10) for any numbers of trials: the noise left in an average is the image's own trial variance over its
    number of trials, so noise may differ between images, as that of Poisson spikes does. An image with a single trial
    borrows the mean trial variance of the others.

    repeats : array of shape (n_images, n_repeats, n_neurons), NaN where a trial is missing. Returns (n_neurons,)
    float64, not clipped: an unreliable neuron can come out below 0, and clipping would bias the mean over neurons. The
    root of a positive value bounds correlation. NaN for a neuron with constant averages, without an image that has two
    trials, or with fewer than four images. Raises ValueError if there are not three axes or a value is infinite.
    """
    repeats = np.asarray(repeats, dtype=np.float64)
    if repeats.ndim != 3 or np.isinf(repeats).any():
        raise ValueError(f"repeats must be finite or NaN, (n_images, n_repeats, n_neurons); found {repeats.shape}")
    present = ~np.isnan(repeats)
    n_trials = present.sum(1)  # (n_images, n_neurons), as are averages and noise
    averages = np.where(present, repeats, 0).sum(1) / np.maximum(n_trials, 1)
    squares = (np.where(present, repeats - averages[:, None], 0) ** 2).sum(1)
    trial_variance = squares / np.maximum(n_trials - 1, 1)

    seen, repeated = n_trials >= 1, n_trials >= 2
    n_seen = np.maximum(seen.sum(0), 1)
    pooled = (trial_variance * repeated).sum(0) / np.maximum(repeated.sum(0), 1)
    noise = np.where(repeated, trial_variance, pooled) / np.maximum(n_trials, 1)
    noise = (noise * seen).sum(0) / n_seen
    centre = averages.sum(0) / n_seen
    total = ((averages - centre) ** 2 * seen).sum(0) / np.maximum(n_seen - 1, 1)

    usable = repeated.any(0) & (n_seen >= 4) & (total > 1e-12 * centre**2)
    # For normal responses 1 / total is (n - 1) / (n - 3) too large on average, the bias of an F ratio: taken out here.
    noise_share = noise / np.where(usable, total, 1) * (n_seen - 3) / np.maximum(n_seen - 1, 1)
    return np.where(usable, 1 - noise_share, np.nan)


def normalised(explained_variance, correlation, ceiling, *, minimum=MINIMUM_RELIABILITY):
    """Scores as a share of what is explainable: explained variance / ceiling, and correlation / root of the ceiling.

    explained_variance, correlation : arrays of shape (n_neurons,). ceiling : the same, from `noise_ceiling`, or a
    number such as `PUBLISHED_RELIABILITY`. Returns two arrays (n_neurons,), NaN where the ceiling is NaN or below
    ``minimum``; ``np.isnan`` counts those left out. Values above 1 occur, as the ceiling is an estimate too. Raises
    ValueError if ``minimum`` is not positive.
    """
    if minimum <= 0:
        raise ValueError(f"minimum must be positive, found {minimum}")
    ceiling = np.asarray(ceiling, dtype=np.float64)
    ceiling = np.where(ceiling >= minimum, ceiling, np.nan)
    return explained_variance / ceiling, correlation / np.sqrt(ceiling)


def object_mean_prediction(responses_train, objects_train, objects_val):
    """Predict each image by its object's mean training response: the control that knows the label and nothing else.

    responses_train : array of shape (n_train, n_neurons). objects_train, objects_val : (n_train,) and (n_val,). Returns
    (n_val, n_neurons) float64; an object without training images gets the mean of all of them.
    """
    responses_train = np.asarray(responses_train, dtype=np.float64)
    names, index = np.unique(objects_train, return_inverse=True)
    means = np.zeros((len(names) + 1, responses_train.shape[1]))
    np.add.at(means, index, responses_train)
    means[:-1] /= np.bincount(index)[:, None]
    means[-1] = responses_train.mean(0)
    row_of = {name: row for row, name in enumerate(names)}
    return means[[row_of.get(name, -1) for name in objects_val]]


def split_by_object(responses, predictions, objects):
    """Explained variance between objects (mean responses against mean predictions) and within them (what is left).

    Shapes and errors are those of `explained_variance`; objects : (n_images,). Returns an `ObjectSplit`. Objects count
    by their numbers of images; a part without variance is NaN. An object with a single image counts as between alone,
    and with few images an object the between part also holds differences within objects and noise.
    """
    responses, predictions = _checked(responses, predictions)
    response_means = object_mean_prediction(responses, objects, objects)
    prediction_means = object_mean_prediction(predictions, objects, objects)
    share = response_means.var(0) / np.where(_is_constant(responses), np.nan, responses.var(0))
    between = explained_variance(response_means, prediction_means)
    within = explained_variance(responses - response_means, predictions - prediction_means)
    # A share within 1e-12 of 0 or 1 is rounding, and so would be the score of the part that is empty.
    return ObjectSplit(np.where(share > 1e-12, between, np.nan), np.where(share < 1 - 1e-12, within, np.nan), share)


def interval(
    responses, predictions, objects, *, metric=explained_variance, n_resamples=2000, seed=0, level=0.95, comparisons=1
):
    """Interval of the mean over neurons and seeds of a metric, for new images of the same objects and new seeds.

    The estimate plus and minus a Student t quantile times its standard error. Two sources of variance are added:

    - Images are resampled within objects, for all neurons together, which are not independent samples. Drawing n of an
      object's n images would understate the variance by (n - 1) / n, half of it at two images: n - 1 are drawn, and
      weigh n / (n - 1) (Rao & Wu 1988, JASA 83:231). Objects with a single image are resampled as if they were one
      object, which can only widen the interval.
    - Seeds: the variance of their scores over n_seeds, with n_seeds - 1 degrees of freedom; percentiles of three to
      five resampled seeds would be far too narrow. What images do to one seed and not to another is in both sources,
      and is counted once (two-way analysis of variance). With one seed the interval is over images alone.

    Degrees of freedom combine by Welch-Satterthwaite. In simulation the ends cover as well as percentiles do, and they
    do not run out of resamples at the levels that many comparisons ask for.

    responses : array of shape (n_images, n_neurons). predictions : the same or (n_seeds, n_images, n_neurons).
    objects : (n_images,). metric : `explained_variance` or `correlation`. comparisons : how many intervals the table
    shows (Bonferroni). Raises ValueError if shapes disagree, a value is not finite, or the metric is another one.
    """
    return _interval(responses, [predictions], objects, metric, n_resamples, seed, level, comparisons)


def paired_interval(
    responses,
    predictions_a,
    predictions_b,
    objects,
    *,
    metric=explained_variance,
    n_resamples=2000,
    seed=0,
    level=0.95,
    comparisons=1,
):
    """Interval of the difference a - b of two models' means: the same resampled images for both.

    Parameters, method and errors are those of `interval`. With as many seeds for a as for b, seeds are paired too: they
    share initial weights and the order of images. With different numbers they count as independent.
    """
    models = [predictions_a, predictions_b]
    return _interval(responses, models, objects, metric, n_resamples, seed, level, comparisons)


def _interval(responses, models, objects, metric, n_resamples, seed, level, comparisons):
    """Interval of the first model's mean, less the second's where there are two."""
    weights, freedom = _image_weights(np.asarray(objects), n_resamples, seed)
    estimate, over_images, counted_twice, variances = 0.0, 0.0, 0.0, []
    scored = [_scores(responses, predictions, weights, metric) for predictions in models]
    if len(scored) == 2 and len(scored[0]) == len(scored[1]):
        scored = [scored[0] - scored[1]]
    for sign, scores in zip((1, -1), scored, strict=False):  # scores : (n_seeds, 1 + n_resamples)
        n_seeds = len(scores)
        estimate += sign * scores[:, 0].mean()
        over_images = over_images + sign * scores[:, 1:].mean(0)
        if n_seeds > 1:
            variances.append((scores[:, 0].var(ddof=1) / n_seeds, n_seeds - 1))
            apart = scores[:, 1:] - scores[:, 1:].mean(0)
            counted_twice += apart.var(1).sum() / (n_seeds - 1) / n_seeds
    variances.append((max(np.var(over_images) - counted_twice, 0), freedom))
    total = sum(variance for variance, _ in variances)
    half = 0.0
    if total > 0:
        freedom = total**2 / sum(variance**2 / freedom for variance, freedom in variances)
        half = student_t.ppf(1 - (1 - level) / (2 * comparisons), freedom) * np.sqrt(total)
    return Interval(float(estimate), float(estimate - half), float(estimate + half))


def _scores(responses, predictions, weights, metric):
    """Means over neurons (n_seeds, n_weights)."""
    formulas = {explained_variance: _explained_variance, correlation: _correlation}
    if metric not in formulas:
        raise ValueError("metric must be explained_variance or correlation of this module")
    if weights.shape[1] != len(responses):
        raise ValueError(f"{weights.shape[1]} objects for {len(responses)} images")
    seeds = predictions if np.ndim(predictions) == 3 else [predictions]
    moments = (_moments(*_checked(responses, prediction), weights) for prediction in seeds)
    return np.array([np.nanmean(formulas[metric](*each), axis=1) for each in moments])


def _image_weights(objects, n_resamples, seed):
    """Weights (1 + n_resamples, n_images), the first row without resampling, and the degrees of freedom they leave."""
    _, stratum, n_images = np.unique(objects, return_inverse=True, return_counts=True)
    single = n_images[stratum] == 1
    if single.sum() == 1 and len(n_images) > 1:  # a lone image joins the smallest of the other objects
        stratum[single] = np.argmin(np.where(n_images > 1, n_images, n_images.max() + 1))
    else:
        stratum[single] = -1
    rng = np.random.default_rng(seed)
    weights = np.ones((1 + n_resamples, len(objects)))
    labels = np.unique(stratum)
    for label in labels:
        (members,) = np.nonzero(stratum == label)
        n = len(members)
        weights[1:, members] = rng.multinomial(n - 1, np.full(n, 1 / n), size=n_resamples) * (n / max(n - 1, 1))
    return weights / len(objects), len(objects) - len(labels)


def _checked(responses, predictions):
    responses, predictions = np.asarray(responses, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    if responses.shape != predictions.shape or responses.ndim != 2 or len(responses) < 2:
        raise ValueError(
            "responses and predictions must both be (n_images, n_neurons) with two images or more; "
            f"found {responses.shape} and {predictions.shape}"
        )
    if not (np.isfinite(responses).all() and np.isfinite(predictions).all()):
        raise ValueError("responses and predictions must be finite")
    return responses, predictions


def _is_constant(values):
    """Whether each column varies by no more than float32 rounding of its largest value."""
    return np.ptp(values, 0) <= 4 * np.finfo(np.float32).eps * np.abs(values).max(0)


def _moments(responses, predictions, weights):
    """Variances of both and their covariance under each row of image weights: three arrays (n_weights, n_neurons)."""
    y, p = responses - responses.mean(0), predictions - predictions.mean(0)  # centred, so that moments do not cancel
    sums = weights @ np.hstack([y, p, y * y, p * p, y * p])
    mean_y, mean_p, square_y, square_p, product = np.split(sums, 5, axis=1)
    variance_y, variance_p = square_y - mean_y**2, square_p - mean_p**2
    # A resample can hold equal responses only; what is left of their variance then is rounding.
    flat_y = _is_constant(responses) | (variance_y <= 1e-12 * y.var(0))
    flat_p = _is_constant(predictions) | (variance_p <= 1e-12 * p.var(0))
    covariance = np.where(flat_p, 0, product - mean_y * mean_p)
    return np.where(flat_y, np.nan, variance_y), np.where(flat_p, 0, variance_p), covariance


def _explained_variance(variance_y, variance_p, covariance):
    return (2 * covariance - variance_p) / variance_y


def _correlation(variance_y, variance_p, covariance):
    return covariance / np.sqrt(variance_y * np.where(variance_p > 0, variance_p, 1))
