"""Readouts against scikit-learn and closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge

from helpers.readout import gram, receptive_fields, regression

N_TRAIN, N_IMAGES, N_NEURONS = 60, 80, 7


@pytest.fixture
def responses(features, generator):
    signal = (features - 5) @ generator.standard_normal((200, N_NEURONS))
    return (signal + generator.standard_normal(signal.shape))[:N_TRAIN]


@pytest.fixture
def kernel(features):
    return gram.centre(features @ features.T, N_TRAIN)


@pytest.fixture
def folds(generator):
    parts = np.array_split(generator.permutation(N_TRAIN), 4)
    return [(np.setdiff1d(np.arange(N_TRAIN), part), part) for part in parts]


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_ridge_equals_scikit_learn_at_the_same_penalty(features, responses, kernel, folds, alpha):
    fitted = regression.ridge(kernel, responses, folds=folds, alphas=[alpha])
    penalty = alpha * np.diag(kernel)[:N_TRAIN].mean()
    expected = Ridge(alpha=penalty).fit(features[:N_TRAIN], responses).predict(features[N_TRAIN:])
    assert_allclose(fitted.predictions, expected, rtol=1e-5, atol=1e-5)
    assert_allclose(fitted.alpha, alpha, rtol=1e-5)


def test_ridge_chooses_each_neurons_penalty_as_scikit_learns_folds_do(features, responses, kernel, folds):
    alphas = np.logspace(-2, 3, 6)
    fitted = regression.ridge(kernel, responses, folds=folds, alphas=alphas)
    loss = np.zeros((len(alphas), N_NEURONS))
    scale = np.diag(kernel)[:N_TRAIN].mean()
    for fit, held_out in folds:
        for i, alpha in enumerate(alphas):
            model = Ridge(alpha=alpha * scale).fit(features[fit], responses[fit])
            loss[i] += ((model.predict(features[held_out]) - responses[held_out]) ** 2).mean(0) / len(folds)
    assert_allclose(fitted.alpha, alphas[loss.argmin(0)], rtol=1e-5)
    assert_allclose(fitted.score, 1 - loss.min(0) / responses.var(0), atol=1e-4)


def test_multiple_kernel_ridge_with_one_weighting_is_ridge_on_the_sum(generator, responses, kernel, folds):
    other = generator.standard_normal((N_IMAGES, 30))
    kernels = [kernel, other @ other.T]
    fitted = regression.multiple_kernel_ridge(kernels, responses, folds=folds, n_iter=1, alphas=[10.0])
    # The sum of two scaled kernels has twice the diagonal of their mean, which the random search starts from.
    total = gram.combine([gram.centre(k, N_TRAIN) for k in kernels], n_train=N_TRAIN)
    assert_allclose(
        fitted.predictions,
        regression.ridge(total, responses, folds=folds, alphas=[10.0]).predictions,
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("n_components", [10, 1000])
def test_principal_component_regression_equals_scikit_learns(features, responses, kernel, n_components):
    predictions = regression.principal_component_regression(kernel, responses, n_components=n_components)
    pca = PCA(min(n_components, N_TRAIN - 1), svd_solver="full").fit(features[:N_TRAIN])
    model = LinearRegression().fit(pca.transform(features[:N_TRAIN]), responses)
    assert_allclose(predictions, model.predict(pca.transform(features[N_TRAIN:])), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fit", [regression.ridge, receptive_fields.ridge])
def test_cross_predict_never_sees_the_held_fold(features, responses, kernel, folds, fit):
    if fit is receptive_fields.ridge:  # a quarter of the features at each of four places
        kernel = np.stack([part @ part.T for part in np.split(features, 4, axis=1)])
    predictions = regression.cross_predict(fit, kernel, responses, folds)
    assert np.isfinite(predictions).all()
    held_out = folds[0][1]
    altered = responses.copy()
    altered[held_out] = np.random.default_rng(0).permutation(altered[held_out]) + 100
    assert_allclose(regression.cross_predict(fit, kernel, altered, folds)[held_out], predictions[held_out])


def test_saved_weights_predict_as_the_fit_did(responses, kernel, folds):
    fitted = regression.ridge(kernel, responses, folds=folds)
    assert_allclose(regression.predict(kernel, fitted.dual, responses.mean(0)), fitted.predictions)
