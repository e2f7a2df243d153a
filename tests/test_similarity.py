"""RSA against explicit numpy and scipy computation, a noise ceiling in closed form, intervals against resampling."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from helpers.readout import similarity


def test_rdm_and_rsa_are_scipys_correlation_distance_and_spearman(generator, features):
    other = features[:, :50] + generator.standard_normal((80, 50))
    K, L = similarity.centred_gram(features), similarity.centred_gram(other)
    distances, others = (pdist(X - X.mean(0), "correlation") for X in (features, other))
    assert_allclose(similarity.rdm(K), distances, atol=1e-10)
    expected = spearmanr(distances, others).statistic
    assert similarity.rsa(K, L) == pytest.approx(expected, abs=1e-12)
    assert similarity.rsa(K, K) == pytest.approx(1)
    assert_allclose(similarity.rdm(features @ features.T), pdist(features - features.mean(0), "cosine"), atol=1e-10)


def test_unrelated_representations_have_no_similarity_and_what_is_not_defined_is_no_number(generator):
    K, L = (similarity.centred_gram(generator.standard_normal((60, 30))) for _ in range(2))
    assert abs(similarity.rsa(K, L)) < 0.1
    with np.errstate(invalid="ignore"):
        assert np.isnan(similarity.rsa(np.zeros((5, 5)), K[:5, :5]))  # no image differs from another


def test_ceiling_of_halves_without_noise_of_noise_alone_and_in_closed_form(generator):
    signal = generator.standard_normal((50, 1, 40))
    clean = np.repeat(signal, 6, axis=1)
    clean[:3, 4:] = np.nan  # images with fewer trials
    assert similarity.rsa_ceiling(similarity.split_halves(clean)) == pytest.approx((1, 1))
    lower, upper = similarity.rsa_ceiling(similarity.split_halves(generator.standard_normal((50, 6, 40))))
    assert abs(lower) < 0.1  # of two unrelated rankings each correlates with their sum by 1 / sqrt(2)
    assert upper == pytest.approx(np.sqrt((1 + lower) / 2), abs=0.01)
    noisy = signal + 2 * generator.standard_normal((50, 6, 40))
    (first, second), *_ = similarity.split_halves(noisy, n_splits=1)
    lower, upper = similarity.rsa_ceiling([(first, second)])
    assert lower == pytest.approx(spearmanr(similarity.rdm(first), similarity.rdm(second)).statistic)
    assert lower < similarity.rsa(similarity.centred_gram(signal), first) < upper
    alone, ceiling = similarity.population(noisy.mean(1), noisy[:, :1])
    assert len(alone) == 1 and np.isnan(ceiling).all() and len(similarity.population(signal[:, 0], noisy)[0]) == 10


@pytest.mark.parametrize("measure", [similarity.rsa, similarity.cka])
def test_intervals_are_as_wide_as_scores_of_new_images_lie_apart(generator, measure):
    """And the same representation twice cannot be told apart, a worse one can."""
    mixing = generator.standard_normal((8, 30)), generator.standard_normal((8, 30))

    def drawn(noise):
        hidden = generator.standard_normal((60, 8))
        parts = [hidden @ each + noise * generator.standard_normal((60, 30)) for each in (*mixing, mixing[0])]
        return [similarity.centred_gram(part) for part in parts]

    apart = np.std([measure(*drawn(1.0)[:2]) for _ in range(100)])
    widths = []
    for _ in range(4):
        K, population, alike = drawn(1.0)
        noise = similarity.centred_gram(generator.standard_normal((60, 30)))
        named = {"a": K, "the same": K.copy(), "alike": alike, "noise": noise}
        found = similarity.compared(named, [population], measure=measure, n_resamples=60)
        widths.append((found["high"] - found["low"])["a"] / 2 / 1.96)
        assert found["highest"][["a", "the same"]].nunique() == 1 and not found["highest"]["noise"]
    assert np.mean(widths) == pytest.approx(apart, rel=0.35)
    assert found["similarity"]["a"] == pytest.approx(measure(K, population))
    words = similarity.highest_at(found.loc[["a", "noise"]].assign(highest=[True, False]))
    assert words.startswith("a (0.") and "told apart" not in words
    assert "not told apart from the same" in similarity.highest_at(found.loc[["a", "the same"]].assign(highest=True))
