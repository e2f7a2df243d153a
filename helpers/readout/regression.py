"""Readouts of Gram matrices: ridge, a penalty per neuron, and its kin; principal components."""

from typing import NamedTuple

import numpy as np
from himalaya.backend import set_backend
from himalaya.kernel_ridge import (
    predict_weighted_kernel_ridge,
    solve_kernel_ridge_cv_eigenvalues,
    solve_multiple_kernel_ridge_random_search,
)

from helpers.device import accelerator
from helpers.readout import gram

ALPHAS = np.logspace(-3, 5, 17)  # penalties for a kernel whose mean training diagonal is 1


class Readout(NamedTuple):
    """Predictions for the images after the training images, and how each neuron's readout was chosen.

    predictions : array of shape (n_other, n_neurons)
    alpha : array of shape (n_neurons,), the chosen penalty of a kernel whose mean training diagonal is 1
    score : array of shape (n_neurons,), 1 - (cross-validated squared error) / (variance) over the training images
    dual : array of shape (n_train, n_neurons), see `dual_weights`; None of several kernels
    """

    predictions: np.ndarray
    alpha: np.ndarray
    score: np.ndarray
    dual: np.ndarray | None = None


def _himalaya():
    """Himalaya's arrays on the accelerator where there is one; float32, in which its search takes half the time."""
    backend = set_backend("torch_cuda" if accelerator().device.type == "cuda" else "torch")
    return lambda array: backend.asarray(array, dtype="float32")


def _penalties_at_once(n_train):
    """So many that Himalaya's float32 matrices, one of n_train by n_train for each penalty, stay at 128 MB."""
    return max(1, 2**25 // n_train**2)


def _score(loss, responses):
    """Cross-validated R² from Himalaya's negative squared error; 0 for a neuron that never varies."""
    variance = responses.var(0)
    return np.where(variance > 0, 1 + np.asarray(loss).ravel() / np.where(variance > 0, variance, 1), 0)


def dual_weights(K, responses, alpha):
    """Solution of (K + alpha I) weights = responses, one penalty per neuron, in float64.

    K : array of shape (n_train, n_train), centred. responses : (n_train, n_neurons), centred. alpha : (n_neurons,).
    Features X that give K = X Xᵀ have the ridge solution Xᵀ weights.
    """
    values, vectors = np.linalg.eigh(K)
    return vectors @ ((vectors.T @ responses) / (np.maximum(values, 0)[:, None] + alpha))


def ridge(K, responses, *, folds, alphas=ALPHAS):
    """Kernel ridge, one penalty per neuron by cross-validation inside the training images.

    Himalaya chooses the penalty (Dupré la Tour et al. 2022, `local_alpha`, an intercept in every fold); the solution at
    that penalty is then computed in float64.

    Parameters
    ----------
    K : array of shape (n_images, n_images), training images first; is divided by its mean training diagonal
    responses : array of shape (n_train, n_neurons)
    folds : list of (fit_index, held_out_index) into the training images, shuffled
    alphas : penalties to choose from; a single one is used as it is

    Returns
    -------
    Readout
    """
    n_train = len(responses)
    K = gram.scale(gram.centre(K, n_train), n_train)
    array = _himalaya()
    alpha, _, loss, _ = solve_kernel_ridge_cv_eigenvalues(
        array(K[:n_train, :n_train]),
        array(responses),
        alphas=array(np.asarray(alphas)),
        cv=folds,
        fit_intercept=True,
        n_alphas_batch=_penalties_at_once(n_train),
    )
    alpha = np.asarray(alpha.cpu(), np.float64)
    mean = responses.mean(0, dtype=np.float64)
    weights = dual_weights(K[:n_train, :n_train], responses - mean, alpha)
    return Readout(K[n_train:, :n_train] @ weights + mean, alpha, _score(loss, responses), weights)


def predict(K, dual, mean):
    """Predictions (n_other, n_neurons) of a fitted `ridge`; K as it took it, dual and mean (n_neurons,) as it found."""
    n_train = len(dual)
    return gram.scale(gram.centre(K, n_train), n_train)[n_train:, :n_train] @ dual + mean


def multiple_kernel_ridge(kernels, responses, *, folds, n_iter=30, alphas=ALPHAS, seed=0):
    """Ridge on a weighted sum of kernels, weights and penalty per neuron by random search (Dupré la Tour et al. 2022).

    kernels : array of shape (n_kernels, n_images, n_images) or list of its kernels. The first of the `n_iter`
    weightings is the plain sum; the others are drawn from Dirichlet distributions. Otherwise as `ridge`.
    """
    n_train = len(responses)
    kernels = gram.scale(gram.centre(np.asarray(kernels), n_train), n_train)
    array = _himalaya()
    mean = responses.mean(0, dtype=np.float64)
    deltas, weights, losses, alpha = solve_multiple_kernel_ridge_random_search(
        array(kernels[:, :n_train, :n_train]),
        array(responses - mean),
        n_iter=n_iter,
        alphas=array(np.asarray(alphas)),
        cv=folds,
        return_weights="dual",
        random_state=seed,
        n_alphas_batch=_penalties_at_once(n_train),
        progress_bar=False,
        return_alphas=True,
    )
    predictions = predict_weighted_kernel_ridge(array(kernels[:, n_train:, :n_train]), array(weights), deltas)
    return Readout(
        np.asarray(predictions.cpu(), np.float64) + mean,
        np.asarray(alpha.cpu(), np.float64),
        _score(losses.max(0).values, responses),
    )


def principal_component_regression(K, responses, *, n_components=1000):
    """The course's readout: least squares on the first principal components of the training images, exactly.

    Equals scikit-learn's `PCA(n_components, svd_solver="full")` and `LinearRegression`; fewer components where the
    training images span fewer. Shapes as in `ridge`; returns predictions of shape (n_other, n_neurons).
    """
    n_train = len(responses)
    K = gram.centre(K, n_train)
    values, vectors = np.linalg.eigh(K[:n_train, :n_train])
    spanned = values > values[-1] * np.finfo(np.float32).eps  # what lies below is the rounding of float32 features
    spanned[:-n_components] = False
    values, vectors = values[spanned], vectors[:, spanned]
    mean = responses.mean(0, dtype=np.float64)
    return (K[n_train:, :n_train] @ vectors / values) @ (vectors.T @ (responses - mean)) + mean


def cross_predict(readout, K, responses, folds):
    """Predict every training image by a readout that has seen neither it nor its fold, its choices included.

    Parameters
    ----------
    readout : function of (K, responses, folds) that returns a Readout: `ridge`, `multiple_kernel_ridge` or
        `receptive_fields.ridge`
    K : array of shape (..., n_images, n_images), training images first
    responses : array of shape (n_train, n_neurons)
    folds : list of (fit_index, held_out_index); inside one fold's fit, the other folds choose the penalty

    Returns
    -------
    array of shape (n_train, n_neurons)
    """
    K = np.asarray(K)
    predictions = np.full(responses.shape, np.nan)
    for fit, held_out in folds:
        position = np.full(len(responses), -1)
        position[fit] = np.arange(len(fit))
        inner = []
        for _, other in folds:
            inner_held_out = position[other][position[other] >= 0]
            if len(inner_held_out):
                inner.append((np.setdiff1d(np.arange(len(fit)), inner_held_out), inner_held_out))
        order = np.concatenate([fit, held_out])
        predictions[held_out] = readout(K[..., order[:, None], order], responses[fit], folds=inner).predictions
    return predictions


def greedy_sum(kernels, responses, folds, *, score):
    """Which kernels to sum: the best first, then, one by one, that with which the sum predicts best, while it gains.

    kernels : dict name -> array of shape (n_images, n_images), training images first; every one counts the same.
    responses : array of shape (n_train, n_neurons). folds : as in `cross_predict`, by whose predictions the choice is
    made. score : function of responses and predictions that returns a number. Returns the names in order; in memory
    are the sum and a candidate.
    """
    chosen, best, total = [], -np.inf, 0
    while left := [name for name in kernels if name not in chosen]:
        scores = {}
        for name in left:
            candidate = total + gram.scale(kernels[name], len(responses))
            scores[name] = score(responses, cross_predict(ridge, candidate, responses, folds))
        name = max(left, key=scores.get)
        if not scores[name] > best:
            break
        best, total = scores[name], total + gram.scale(kernels[name], len(responses))
        chosen.append(name)
    return chosen
