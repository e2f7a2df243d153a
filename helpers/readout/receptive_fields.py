"""Located kernel ridge: a receptive field per neuron, from Gram matrices by place of the image.

A neuron sees a part of the image. A Gaussian mask w over the places p of a grid turns the stack of their Gram matrices
K_p into that of the features it lets through, sum_p w_p K_p; a Gaussian kernel of it is ridge's. Each neuron's
prediction is the mean over a few masks, weighted by how well leave-one-out predicts it through them, and goes through
a quadratic output stage of its own.
"""

from typing import NamedTuple

import numpy as np
import torch

from helpers.device import accelerator
from helpers.readout import gram, gram_by_place

ALPHAS = np.logspace(-3, 1, 9)  # penalties for a kernel whose mean training diagonal is 1
BANDWIDTHS = (1.0, 1.5, 2.2)  # of Gaussian kernels, where the root mean square norm of the features is 1
BANDWIDTH = 1.5  # with which masks and blur are chosen
CENTRES, SDS = np.linspace(0.1, 0.9, 7), (0.15, 0.22, 0.33)  # of the masks, in shares of the image's sides
N_MASKS, TEMPERATURE = 12, 0.003  # masks that are kept; score that multiplies a mask's weight by e
BLURS = (0.1, 0.2, 0.3)  # of the maps; V4 recordings are predicted best with the first, the stand-in with the second
N_SEARCHED = 500  # images at most on which masks, bandwidth and blur are chosen: 148 eigendecompositions a choice
OUTPUT_PRIOR = 300  # by which the output stage is drawn to the plain one, in images: fitted to 45 of V4 it lost .05 of
# the variance without, to 350 it gained .003 with and without
PLACES = 2**26  # numbers in the kernels of several masks that are in memory at once


class Located(NamedTuple):
    """Predictions for the images after the training images, and how each neuron's readout was chosen.

    predictions : array of shape (n_other, n_neurons)
    score : (n_neurons,), leave-one-out R² over the training images of the best mask
    masks : (n_masks, 3), their centres (down, right) and sd in shares of the image; an infinite sd is "everywhere"
    weights : (n_masks, n_neurons), of the masks' predictions in the mean
    alpha : (n_masks, n_neurons), penalties of kernels whose mean training diagonal is 1
    dual : (n_masks, n_train, n_neurons), dual weights of each mask's kernel, times `weights`
    output : (6, n_neurons), what the output stage adds to a slope of 1, its curvature, and mean, variance, lowest and
        highest of the leave-one-out predictions, less the mean response, that it was fitted to
    bandwidth : of the Gaussian kernels
    """

    predictions: np.ndarray
    score: np.ndarray
    masks: np.ndarray
    weights: np.ndarray
    alpha: np.ndarray
    dual: np.ndarray
    output: np.ndarray
    bandwidth: float

    @property
    def centres(self):
        """Centre of each neuron's receptive field, (down, right) in shares of the image: (n_neurons, 2)."""
        return self.weights.T @ self.masks[:, :2]

    def fields(self, grid):
        """Receptive field of each neuron on a grid, of sum 1: (n_neurons, grid, grid)."""
        masks = on_grid(self.masks, grid)
        return (self.weights.T @ (masks / masks.sum(1, keepdims=True))).reshape(-1, grid, grid)


def candidates():
    """The masks to choose from: array of shape (n_candidates, 3) as `Located.masks`, "everywhere" first."""
    local = [(down, right, sd) for sd in SDS for down in CENTRES for right in CENTRES]
    return np.array([(0.5, 0.5, np.inf), *local])


def on_grid(masks, grid):
    """Values (n_masks, grid²) of masks at the middles of a grid's places, row by row; 1 at a mask's centre."""
    middle = (np.arange(grid) + 0.5) / grid
    down, right = (np.exp(-(((middle - masks[:, [axis]]) / masks[:, 2:]) ** 2) / 2) for axis in (0, 1))
    return (down[:, :, None] * right[:, None, :]).reshape(len(masks), -1)


def leave_one_out(K, responses, alphas=ALPHAS):
    """Exact leave-one-out R² of kernel ridge with an intercept, for every penalty, from one eigendecomposition.

    Parameters
    ----------
    K : tensor of shape (n_train, n_train), centred
    responses : tensor of shape (n_train, n_neurons), centred

    Returns
    -------
    score : tensor of shape (n_alphas, n_neurons), 1 - (squared error) / (variance); 0 for a neuron that never varies
    errors : tensor of shape (n_alphas, n_train, n_neurons), of the images' predictions from the others
    values, vectors : the eigendecomposition of K
    """
    n_train, variance = len(responses), responses.square().mean(0)
    values, vectors = torch.linalg.eigh(K)
    values = values.clip(min=0)
    alphas = torch.as_tensor(alphas, dtype=K.dtype, device=K.device)[:, None]
    left = alphas / (values + alphas)  # (n_alphas, n_train), share of each component that is not predicted
    own = 1 / n_train + (1 - left) @ vectors.square().T  # an image's weight in its own prediction
    residuals = vectors @ (left[:, :, None] * (vectors.T @ responses))  # (n_alphas, n_train, n_neurons)
    errors = residuals / (1 - own)[:, :, None]
    score = torch.where(variance > 0, 1 - errors.square().mean(1) / variance, 0)
    return score, errors, values, vectors


def ridge(stack, responses, *, folds=None):
    """Masks, bandwidth and penalties by leave-one-out inside the training images, and the fit to all of them.

    Masks and bandwidth are chosen on at most `N_SEARCHED` images: greedily the masks that raise most the mean over
    neurons of the best mask's score.

    Parameters
    ----------
    stack : array of shape (grid², n_images, n_images), training images first; see `gram_by_place.grams_by_place`
    responses : array of shape (n_train, n_neurons)
    folds : ignored; leave-one-out chooses, which here costs what a single fold does

    Returns
    -------
    Located
    """
    masks, bandwidth = _choose(stack, responses)
    n_train, mean = len(responses), responses.mean(0, dtype=np.float64)
    y = tensor(responses - mean)
    scores, errors, alphas, duals = [], [], [], []
    for mask in masks:
        K = kernel(stack, mask, n_train=n_train, bandwidth=bandwidth)[:n_train, :n_train]
        score, left_out, values, vectors = leave_one_out(K, y)
        best = score.max(0)
        errors.append(torch.take_along_dim(left_out, best.indices[None, None], 0)[0])
        alpha = tensor(ALPHAS)[best.indices]
        scores.append(best.values)
        alphas.append(alpha)
        duals.append(vectors @ ((vectors.T @ y) / (values[:, None] + alpha)))
    weights = torch.softmax(torch.stack(scores) / TEMPERATURE, 0)
    dual = (torch.stack(duals) * weights[:, None]).cpu().numpy()
    output = _output_stage(y.cpu().numpy(), (torch.stack(errors) * weights[:, None]).sum(0).cpu().numpy())
    arrays = (masks, *(array.cpu().numpy() for array in (weights, torch.stack(alphas))), dual, output, bandwidth)
    predictions = predict(stack, masks, dual, output, mean, bandwidth=bandwidth)
    return Located(predictions, torch.stack(scores).max(0).values.cpu().numpy(), *arrays)


def best_blur(view, images, responses):
    """The blur of `BLURS` with which leave-one-out predicts best from one view, each neuron through its best mask.

    On at most `N_SEARCHED` images. A small network at its smaller size named the blur that folds did for all that a
    readout sums, on V4 recordings and on the stand-in.

    Parameters
    ----------
    view : View, whose own blur is ignored
    images, responses : the training images (n_train, 1 or 3, height, width) and their responses (n_train, n_neurons)
    """
    index = _searched(len(images))
    y = tensor(responses[index])

    def score(blur):
        stack = gram_by_place.stack_of([view._replace(blur=blur)], images[index], n_train=len(index))
        found = best_scores(tensor(stack), y - y.mean(0), candidates(), BANDWIDTH)
        return float(torch.stack(list(found)).max(0).values.mean())

    return max(BLURS, key=score)


def _output_stage(responses, errors):
    """`Located.output` by ridge from leave-one-out predictions, towards these as they are.

    responses, errors : arrays of shape (n_train, n_neurons), centred responses, and what predictions fall short of them
    """
    p = responses.astype(np.float64) - errors
    mean, sd = p.mean(0), np.maximum(p.std(0), 1e-30)
    z = (p - mean) / sd
    terms = np.stack([z, z**2 - 1], axis=2)
    squares = np.einsum("inj,ink->njk", terms, terms) + OUTPUT_PRIOR * np.eye(2)
    missing = np.einsum("inj,in->nj", terms, errors - errors.mean(0))
    slope, curvature = np.linalg.solve(squares, missing[:, :, None])[:, :, 0].T
    # never upside down: of a neuron that cannot be predicted, leave-one-out predictions run against the responses
    return np.stack([np.maximum(slope / sd, -1.0), curvature / sd**2, mean, sd**2, p.min(0), p.max(0)])


def shaped(p, output):
    """Predictions p (n_images, n_neurons), less the mean response, through the output stage of `Located`.

    Beyond the predictions that it was fitted to it goes on in a straight line.
    """
    slope, curvature, mean, variance, low, high = output
    return p + slope * (p - mean) + curvature * ((p.clip(low, high) - mean) ** 2 - variance)


def predict(stack, masks, dual, output, mean, *, bandwidth):
    """Predictions (n_other, n_neurons) for the images after the training images; arguments as in `Located`."""
    n_train = dual.shape[1]
    predictions = 0
    for mask, weights in zip(masks, dual, strict=True):
        K = kernel(stack, mask, n_train=n_train, bandwidth=bandwidth)[n_train:, :n_train]
        predictions = predictions + (K @ tensor(weights)).cpu().numpy().astype(np.float64)
    return shaped(predictions, output) + mean


def kernel(stack, mask, *, n_train, bandwidth):
    """The Gaussian kernel through one mask, centred and scaled on the training images: tensor (n_images, n_images)."""
    return _gaussian(through(stack, mask), n_train, bandwidth)


def through(stack, mask, n_rows=None):
    """The Gram matrix of the features that one mask lets through, or its first rows: tensor (n_rows, n_columns)."""
    weights = on_grid(mask[None], round(len(stack) ** 0.5))[0].tolist()
    return sum(tensor(K[:n_rows]) * weight for weight, K in zip(weights, stack, strict=True))


def _choose(stack, responses):
    """Masks and bandwidth, by leave-one-out."""
    index = _searched(len(responses))
    few, y = np.stack([K[np.ix_(index, index)] for K in stack]), tensor(responses[index])
    few, y = tensor(few), y - y.mean(0)
    masks = candidates()
    scores = torch.stack(list(best_scores(few, y, masks, BANDWIDTH)))
    chosen, reached = [], torch.full_like(scores[0], -torch.inf)
    for _ in range(N_MASKS):
        chosen.append(int(torch.maximum(scores, reached).mean(1).argmax()))
        reached = torch.maximum(reached, scores[chosen[-1]])
    masks = masks[sorted(set(chosen))]
    reached = {b: torch.stack(list(best_scores(few, y, masks, b))).max(0).values.mean() for b in BANDWIDTHS}
    return masks, max(reached, key=reached.get)


def _searched(n_train):
    """Indices of at most N_SEARCHED training images, evenly spread."""
    return np.unique(np.arange(N_SEARCHED) * n_train // N_SEARCHED)


def best_scores(stack, responses, masks, bandwidth):
    """The best penalty's leave-one-out score (n_neurons,) through each mask, in turn."""
    n_places, n_images, _ = stack.shape
    values = tensor(on_grid(masks, round(n_places**0.5)))
    for some in values.split(max(1, PLACES // n_images**2)):
        for K in (some @ stack.flatten(1)).view(-1, n_images, n_images):
            yield leave_one_out(_gaussian(K, n_images, bandwidth), responses)[0].max(0).values


def _gaussian(K, n_train, bandwidth):
    K = gram.gaussian(K, n_train=n_train, bandwidth=bandwidth)
    return gram.scale(gram.centre(K, n_train), n_train)


def tensor(array):
    """On the device, in float32: half the time of float64, and errors far below the smallest penalty."""
    return torch.as_tensor(np.asarray(array), dtype=torch.float32, device=accelerator().device)
