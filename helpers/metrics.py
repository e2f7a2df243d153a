"""How well responses are predicted: one value per neuron, computed in float64; means over neurons are taken last.

Explained variance and correlation, two noise ceilings from repeated trials, and intervals for a mean over neurons that
hold for new images and new training seeds. What is not defined is NaN, and a NaN stays one.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student_t
from sklearn.metrics import explained_variance_score

# Reliability published for the course's IT population (Majaj, Hong et al. 2015, J. Neurosci. 35:13402, as Brain-Score
# uses it). Without repeats it stands in for the noise ceiling: it bounds explained variance, its root correlation.
PUBLISHED_RELIABILITY = 0.82
MINIMUM_RELIABILITY = 0.2  # below this, dividing by a neuron's ceiling magnifies noise more than it tells
LEVEL = 0.95  # of intervals


@dataclass(frozen=True)
class Interval:
    """An estimate, the mean over neurons and seeds, between the two ends of its interval; NaN where not defined."""

    estimate: float
    low: float
    high: float


def explained_variance(responses, predictions):
    """1 - Var[responses - predictions] / Var[responses] per neuron: scikit-learn's ``explained_variance_score``.

    responses, predictions : arrays of shape (n_images, n_neurons). Returns (n_neurons,) float64; 1 is best, 0 a
    constant prediction. A constant response gets NaN (scikit-learn: 0 or 1), as there was nothing to explain; take
    means with `known_mean`. Raises ValueError for unlike shapes, values that are not finite, or a single image.
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


def known_mean(values, axis=-1):
    """Return the mean over an axis, neurons unless told otherwise, of the values that are not NaN; NaN of none."""
    known = ~np.isnan(values)
    n_known = known.sum(axis)
    return np.where(n_known > 0, np.where(known, values, 0).sum(axis) / np.maximum(n_known, 1), np.nan)


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
    repeats = _checked_repeats(repeats)
    n_trials = (~np.isnan(repeats)).sum(1)  # (n_images, n_neurons), as are averages and noise
    averages = known_mean(repeats, axis=1)
    squares = np.nansum((repeats - averages[:, None]) ** 2, axis=1)
    trial_variance = np.where(n_trials >= 2, squares / np.maximum(n_trials - 1, 1), np.nan)
    borrowed = np.where(n_trials == 1, known_mean(trial_variance, axis=0), trial_variance)
    noise = known_mean(borrowed / np.maximum(n_trials, 1), axis=0)

    n_seen, centre = (n_trials >= 1).sum(0), known_mean(averages, axis=0)
    total = np.nansum((averages - centre) ** 2, axis=0) / np.maximum(n_seen - 1, 1)
    usable = (n_seen >= 4) & (total > 1e-12 * centre**2)
    # For normal responses 1 / total is (n - 1) / (n - 3) too large on average, the bias of an F ratio: taken out here.
    noise_share = noise / np.where(usable, total, 1) * (n_seen - 3) / np.maximum(n_seen - 1, 1)
    return np.where(usable, 1 - noise_share, np.nan)


def split_halves(repeats, *, n_splits, seed=0):
    """Each image's trials dealt at random into halves: pairs of their means, each (n_images, n_neurons).

    repeats : float64 array of shape (n_images, n_repeats, n_neurons), NaN where a trial is missing
    """
    rng = np.random.default_rng(seed)
    for _ in range(n_splits):
        order = np.argsort(rng.random(repeats.shape[:2]), axis=1)[:, :, None]  # one deal for all neurons
        dealt = np.take_along_axis(repeats, order, axis=1)
        turn = np.cumsum(~np.isnan(dealt), axis=1) % 2
        yield [known_mean(np.where(turn == half, dealt, np.nan), axis=1) for half in (1, 0)]


def split_half_ceiling(repeats, *, n_splits=20, seed=0):
    """The same share from halves of the trials: their correlation, Spearman-Brown corrected, as Brain-Score has it.

    The trials of every image are dealt at random into two halves, whose averages are correlated over images; of r, the
    mean over splits, 2 r / (1 + r) is the reliability of the average of all trials (Spearman; Brown 1910, Br. J.
    Psychol. 3). An odd number of trials makes halves unlike and the value a little low.

    repeats : as for `noise_ceiling`; images with a single trial are left out. Returns (n_neurons,) float64, not
    clipped; NaN as there, where a half is constant, and with fewer than four images that have two trials.
    """
    repeats, correlations = _checked_repeats(repeats), []
    for halves in split_halves(repeats, n_splits=n_splits, seed=seed):
        odd, even = map(pd.DataFrame, halves)
        correlations.append(odd.corrwith(even).where((odd + even).count() >= 4))
    r = np.mean(correlations, axis=0)
    defined = (r > -1) & ~np.isnan(noise_ceiling(repeats))
    return np.where(defined, 2 * r / np.where(defined, 1 + r, 1), np.nan)


def normalised(explained_variance, correlation, ceiling):
    """Scores as a share of what is explainable: explained variance / ceiling, and correlation / root of the ceiling.

    explained_variance, correlation : arrays of shape (n_neurons,). ceiling : the same, from `noise_ceiling`, or a
    number such as `PUBLISHED_RELIABILITY`. Returns two arrays (n_neurons,), NaN where the ceiling is NaN or below
    `MINIMUM_RELIABILITY`; ``np.isnan`` counts those left out. Values above 1 occur, as the ceiling is an estimate too.
    """
    ceiling = np.where(np.asarray(ceiling) >= MINIMUM_RELIABILITY, ceiling, np.nan)
    return explained_variance / ceiling, correlation / np.sqrt(ceiling)


def ratio_of_means(scores, ceiling):
    """Return the mean score over the mean ceiling, of the neurons that have both: a number, NaN where none has.

    The mean of ratios, of `normalised`, is biased by neurons whose ceiling is low and uncertain; here they count for
    little and none is left out. scores : array of shape (n_neurons,). ceiling : the same, or a number.
    """
    ceiling = np.where(np.isnan(scores), np.nan, ceiling)
    below = known_mean(ceiling)
    return known_mean(np.where(np.isnan(ceiling), np.nan, scores)) / below if below > 0 else np.nan


def interval(
    responses, predictions, objects, *, against=None, metric=explained_variance, n_resamples=2000, seed=0, comparisons=1
):
    """Interval of the mean over neurons and seeds of a metric, for new images of the same objects and new seeds.

    With predictions to compare `against`, of the difference of both means, on the same resampled images. With as many
    seeds of one as of the other, seeds are paired too: they share initial weights and the order of images. With
    different numbers they count as independent.

    The estimate plus and minus a Student t quantile times its standard error. Two sources of variance are added:

    - Images are resampled within objects, for all neurons together, which are not independent samples. Drawing n of an
      object's n images would understate the variance by (n - 1) / n, half of it at two images: n - 1 are drawn, and
      weigh n / (n - 1) (Rao & Wu 1988, JASA 83:231). Objects with a single image are resampled as if they were one
      object, which can only widen the interval.
    - Seeds: the variance of their scores over n_seeds, with n_seeds - 1 degrees of freedom; percentiles of three to
      five resampled seeds would be far too narrow. What images do to one seed and not to another is in both sources,
      and is counted once (two-way analysis of variance). With one seed the interval is over images alone.

    Degrees of freedom combine by Welch-Satterthwaite. In simulation the ends cover as well as percentiles do, and they
    do not run out of resamples at the levels that many comparisons ask for. A neuron whose responses are equal in a
    resample takes no part in it; where a resample leaves no neuron, as with a handful of images, the ends are NaN.

    responses : array of shape (n_images, n_neurons). predictions, against : the same or (n_seeds, n_images, n_neurons).
    objects : (n_images,). metric : `explained_variance` or `correlation`. comparisons : how many intervals the table
    shows (Bonferroni). Raises ValueError if shapes disagree, a value is not finite, or the metric is another one.
    """
    weights, freedom = _image_weights(np.asarray(objects), n_resamples, seed)
    estimate, over_images, counted_twice, variances = 0.0, 0.0, 0.0, []
    models = [predictions] if against is None else [predictions, against]
    scored = [_scores(responses, model, weights, metric) for model in models]
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
    variances.append((np.maximum(np.var(over_images) - counted_twice, 0), freedom))
    half = total = sum(variance for variance, _ in variances)  # NaN stays NaN; 0 where nothing varies
    if total > 0:
        freedom = total**2 / sum(variance**2 / freedom for variance, freedom in variances)
        half = student_t.ppf(1 - (1 - LEVEL) / (2 * comparisons), freedom) * np.sqrt(total)
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
    return np.array([known_mean(formulas[metric](*each)) for each in moments])


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
        raise ValueError(f"expected two arrays (n_images > 1, n_neurons), found {responses.shape}, {predictions.shape}")
    if not (np.isfinite(responses).all() and np.isfinite(predictions).all()):
        raise ValueError("responses and predictions must be finite")
    return responses, predictions


def _checked_repeats(repeats):
    repeats = np.asarray(repeats, dtype=np.float64)
    if repeats.ndim != 3 or np.isinf(repeats).any():
        raise ValueError(f"repeats must be finite or NaN, (n_images, n_repeats, n_neurons); found {repeats.shape}")
    return repeats


def _is_constant(values):
    """Return the columns, (n_columns,) bool, that vary by no more than float32 rounding of their largest value."""
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
