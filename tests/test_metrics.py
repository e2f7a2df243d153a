"""Metrics against scikit-learn, scipy and closed forms; intervals and ceilings against data whose truth is known."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import explained_variance_score

from helpers import metrics

N_FACTORS, N_NEURONS = 5, 50
MIXING = np.random.default_rng(0).normal(size=(N_FACTORS, N_NEURONS)) / np.sqrt(N_FACTORS)  # neurons are correlated


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def sample(rng, objects, *, object_factors, gain=0.4, n_seeds=1):
    """Responses to images of fixed objects, and predictions that know a share of what drives them."""
    factors = 0.6 * object_factors[objects] + 0.8 * rng.normal(size=(len(objects), N_FACTORS))
    drive = factors @ MIXING
    responses = drive + 0.7 * rng.normal(size=drive.shape)
    errors = rng.normal(size=(n_seeds, len(objects), N_FACTORS)) @ MIXING
    return responses, gain * drive + 0.3 * errors


def population_explained_variance(objects, object_factors, gain=0.4):
    """Closed form for `sample`: the images of an object vary freely, the mix of objects is fixed."""
    centred = 0.6 * (object_factors[objects] - object_factors[objects].mean(0))
    drive = (((centred @ MIXING) ** 2).mean(0)) + 0.8**2 * (MIXING**2).sum(0)
    residual = (1 - gain) ** 2 * drive + 0.7**2 + 0.3**2 * (MIXING**2).sum(0)
    return np.mean(1 - residual / (drive + 0.7**2))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scores_agree_with_scikit_learn_and_scipy(rng, dtype):
    responses = (rng.normal(size=(60, 7)) + 3).astype(dtype)
    predictions = (0.5 * responses + rng.normal(size=(60, 7))).astype(dtype)
    wide = responses.astype(float), predictions.astype(float)
    expected = explained_variance_score(*wide, multioutput="raw_values")
    np.testing.assert_allclose(metrics.explained_variance(responses, predictions), expected, rtol=1e-12)
    expected = [pearsonr(wide[0][:, i], wide[1][:, i]).statistic for i in range(7)]
    np.testing.assert_allclose(metrics.correlation(responses, predictions), expected, rtol=1e-10)


def test_constant_neurons_and_predictions(rng):
    responses, predictions = rng.normal(size=(2, 30, 3)).astype(np.float32)
    responses[:, 0] = 0.1
    predictions[:, 1] = 0.1
    np.testing.assert_allclose(metrics.explained_variance(responses, predictions)[:2], [np.nan, 0], atol=1e-12)
    np.testing.assert_array_equal(metrics.correlation(responses, predictions)[:2], [np.nan, 0])
    mean = np.nanmean(metrics.explained_variance(responses, predictions))
    assert metrics.interval(responses, predictions, np.arange(30) % 5).estimate == pytest.approx(mean)


def test_bad_input_is_refused():
    good = np.arange(6.0).reshape(3, 2)
    for bad in (good[:2], good[:, :1], np.where(good == 4, np.nan, good), good[0]):
        with pytest.raises(ValueError):
            metrics.correlation(good, bad)
    with pytest.raises(ValueError):
        metrics.interval(good, good, np.zeros(2))
    with pytest.raises(ValueError):
        metrics.interval(good, good, np.zeros(3), metric=explained_variance_score)


@pytest.mark.parametrize("truth", [0.2, 0.5, 0.8])
def test_noise_ceiling_recovers_the_explainable_share(rng, truth):
    n_images, n_repeats, n_neurons = 96, 9, 168
    n_trials = rng.integers(6, 10, n_images)
    spread = rng.uniform(
        0.5, 1.5, size=(n_images, 1)
    )  # noise differs between images, and not with the number of trials
    noise_power = np.mean(spread[:, 0] ** 2 / n_trials)
    signal = rng.normal(size=(n_images, n_neurons)) * np.sqrt(noise_power * truth / (1 - truth))
    repeats = 5 + signal[:, None] + spread[:, None] * rng.normal(size=(n_images, n_repeats, n_neurons))
    repeats[np.arange(n_repeats) >= n_trials[:, None]] = np.nan
    ceiling = metrics.noise_ceiling(repeats.astype(np.float32))
    assert ceiling.shape == (n_neurons,)
    assert ceiling.mean() == pytest.approx(truth, abs=0.03)
    # A model that knows the signal reaches it, and its root bounds correlation.
    perfect = metrics.explained_variance(np.nanmean(repeats, 1), signal).mean()
    assert perfect == pytest.approx(truth, abs=0.03)


@pytest.mark.parametrize(("n_trials", "truth"), [(10, 0.8), (6, 0.4), (24, 0.1)])
def test_split_half_ceiling_recovers_the_explainable_share(rng, n_trials, truth):
    """Closed form: signal power over that of the average of n trials, which the other ceiling estimates too."""
    signal = rng.normal(size=(150, 1, 200)) * np.sqrt(truth / (1 - truth) / n_trials)
    repeats = 3 + signal + rng.normal(size=(150, n_trials, 200))
    found = metrics.split_half_ceiling(repeats)
    assert found.mean() == pytest.approx(truth, abs=0.02)
    assert found.mean() == pytest.approx(metrics.noise_ceiling(repeats).mean(), abs=0.02)
    padded = np.concatenate([repeats[:, :, :3], np.full((150, 4, 3), np.nan)], axis=1)
    np.testing.assert_allclose(metrics.split_half_ceiling(padded), found[:3], atol=0.06)  # other halves are drawn


def test_split_half_ceiling_is_the_spearman_brown_formula_of_two_trials(rng):
    repeats = rng.normal(size=(40, 2, 3)) + rng.normal(size=(40, 1, 3))
    r = np.array([pearsonr(repeats[:, 0, i], repeats[:, 1, i]).statistic for i in range(3)])
    many = metrics.split_half_ceiling(repeats, n_splits=400)  # which of the two is first matters little
    np.testing.assert_allclose(many, 2 * r / (1 + r), atol=0.02)
    assert np.isnan(metrics.split_half_ceiling(repeats[:, :1])).all()
    assert np.isnan(metrics.split_half_ceiling(repeats[:3])).all()
    assert np.isnan(metrics.split_half_ceiling(np.full((20, 6, 1), 0.1))).all()


def test_ratio_of_means_is_right_where_the_mean_of_ratios_is_not(rng):
    """Half of what is explainable is explained; ceilings are known to .15, many neurons are unreliable."""
    ceiling = rng.uniform(0.02, 0.5, size=20_000)
    scores, estimated = 0.5 * ceiling, ceiling + 0.15 * rng.normal(size=ceiling.size)
    assert metrics.ratio_of_means(scores, estimated) == pytest.approx(0.5, abs=0.01)
    assert np.nanmean(metrics.normalised(scores, scores, estimated)[0]) < 0.47
    assert metrics.ratio_of_means(np.array([0.2, np.nan, 0.4]), np.array([0.5, 0.5, np.nan])) == pytest.approx(0.4)
    assert np.isnan(metrics.ratio_of_means(np.array([0.2]), np.array([-0.1])))
    assert metrics.ratio_of_means(np.array([0.2, 0.3]), 0.5) == pytest.approx(0.5)


def test_noise_ceiling_with_equal_trials_is_an_analysis_of_variance(rng):
    repeats = rng.normal(size=(20, 6, 1)) + rng.normal(size=(20, 1, 1))
    within = repeats.var(axis=1, ddof=1).mean()
    between = 6 * repeats.mean(1).var(ddof=1)
    expected = 1 - within / between * (20 - 3) / (20 - 1)
    np.testing.assert_allclose(metrics.noise_ceiling(repeats), expected)
    padded = np.concatenate([repeats, np.full((20, 2, 1), np.nan)], axis=1)
    np.testing.assert_allclose(metrics.noise_ceiling(padded), expected)
    assert np.isnan(metrics.noise_ceiling(repeats[:, :1])).all()
    assert np.isnan(metrics.noise_ceiling(np.full((20, 6, 1), 0.1))).all()


def test_normalised_scores_leave_out_unreliable_neurons():
    explained, correlated = metrics.normalised(
        np.array([0.2, 0.2, 0.2]), np.array([0.5, 0.5, 0.5]), np.array([0.25, 0.05, np.nan])
    )
    np.testing.assert_allclose(explained, [0.8, np.nan, np.nan])
    np.testing.assert_allclose(correlated, [1, np.nan, np.nan])
    assert metrics.normalised(0.41, 0.5, metrics.PUBLISHED_RELIABILITY)[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("n_images_of", "n_seeds"), [([2] * 50, 1), ([1] * 6 + [2, 3, 4, 5, 6, 7] * 4, 1), ([4] * 30, 5)]
)
def test_interval_covers_the_truth(n_images_of, n_seeds):
    rng = np.random.default_rng(2)
    objects = np.repeat(np.arange(len(n_images_of)), n_images_of)
    object_factors = rng.normal(size=(len(n_images_of), N_FACTORS))
    truth = population_explained_variance(objects, object_factors)
    covered = 0
    for seed in range(1000):
        responses, predictions = sample(rng, objects, object_factors=object_factors, n_seeds=n_seeds)
        found = metrics.interval(responses, predictions, objects, n_resamples=200, seed=seed)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 1000 <= 0.98


def test_interval_is_that_of_student_when_seeds_alone_differ(rng):
    """Predictions scaled per seed on endless equal images: what is left is the t interval of five numbers."""
    responses = np.tile([[-1.0], [1.0]], (50_000, 1))
    gains = 0.5 + 0.1 * rng.normal(size=5)
    predictions = gains[:, None, None] * responses
    found = metrics.interval(responses, predictions, np.zeros(len(responses)), n_resamples=50)
    scores = 1 - (1 - gains) ** 2
    half = 2.776 * scores.std(ddof=1) / np.sqrt(5)
    assert found.estimate == pytest.approx(scores.mean())
    assert found.high - found.estimate == pytest.approx(half, rel=0.02)


def test_an_interval_of_a_difference_tells_a_real_difference_from_none(rng):
    objects = np.repeat(np.arange(30), 4)
    object_factors = rng.normal(size=(30, N_FACTORS))
    missed, found = 0, 0
    for seed in range(50):
        responses, both = sample(rng, objects, object_factors=object_factors, n_seeds=10)
        equal = metrics.interval(responses, both[:5], objects, against=both[5:], n_resamples=200, seed=seed)
        missed += not equal.low <= 0 <= equal.high
        pair, resampled = (both[:5] * 1.5, both[5:] * 0.5), {"n_resamples": 200, "seed": seed}
        better = metrics.interval(responses, pair[0], objects, against=pair[1], **resampled)
        found += better.low > 0
    assert missed <= 7 and found == 50  # 2.5 misses are expected, and 7 exceeded about once in 300 times
    swapped = metrics.interval(responses, pair[1], objects, against=pair[0], **resampled)
    np.testing.assert_allclose([swapped.low, swapped.high], [-better.high, -better.low])


@pytest.mark.parametrize("metric", [metrics.explained_variance, metrics.correlation])
def test_shuffled_responses_are_not_predicted(rng, metric):
    objects = np.repeat(np.arange(30), 4)
    responses, predictions = sample(rng, objects, object_factors=rng.normal(size=(30, N_FACTORS)))
    assert metrics.interval(responses, predictions, objects, metric=metric).low > 0
    shuffled = responses[rng.permutation(len(responses))]
    assert metrics.interval(shuffled, predictions, objects, metric=metric, comparisons=2).low <= 0


def test_comparisons_widen_the_interval_and_seeds_repeat_it(rng):
    objects = np.repeat(np.arange(30), 4)
    responses, predictions = sample(rng, objects, object_factors=rng.normal(size=(30, N_FACTORS)))
    one = metrics.interval(responses, predictions, objects)
    ten = metrics.interval(responses, predictions, objects, comparisons=10)
    assert one == metrics.interval(responses, predictions[0], objects)
    assert ten.estimate == one.estimate and ten.low < one.low and ten.high > one.high


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_images", [2, 3, 4, 5])
def test_an_interval_from_a_handful_of_images_is_not_defined(rng, n_images):
    responses, predictions = rng.normal(size=(2, n_images, 4))
    for found in (
        metrics.interval(responses, predictions, np.zeros(n_images)),
        metrics.interval(responses, predictions, np.zeros(n_images), against=0.5 * predictions),
    ):
        assert np.isfinite(found.estimate) and np.isnan([found.low, found.high]).all()


@pytest.mark.filterwarnings("error")
def test_what_has_no_score_has_no_interval(rng):
    flat, predictions = np.ones((20, 3)), rng.normal(size=(20, 3))
    found = metrics.interval(flat, predictions, np.zeros(20))
    assert np.isnan([found.estimate, found.low, found.high]).all()
    np.testing.assert_array_equal(metrics.known_mean(np.array([[1, np.nan, 3], [np.nan] * 3])), [2, np.nan])


@pytest.mark.parametrize("n_images", [7, 8, 10, 12])
def test_an_interval_from_few_images_covers_or_is_not_defined(n_images):
    rng = np.random.default_rng(3)
    truth = population_explained_variance(np.zeros(n_images, int), np.zeros((1, N_FACTORS)))
    missed = 0
    for seed in range(300):
        responses, predictions = sample(rng, np.zeros(n_images, int), object_factors=np.zeros((1, N_FACTORS)))
        found = metrics.interval(responses, predictions, np.zeros(n_images), n_resamples=300, seed=seed)
        missed += found.low > truth or found.high < truth
    assert missed / 300 <= 0.1


def test_nothing_varies_where_predictions_are_constant(rng):
    """A constant explains exactly nothing of any images: known, not undefined."""
    found = metrics.interval(rng.normal(size=(20, 3)), np.ones((20, 3)), np.zeros(20))
    assert found.estimate == found.low == found.high == 0
