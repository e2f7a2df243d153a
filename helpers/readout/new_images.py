"""Predictions for images that were not there when a readout was fitted.

A kernel readout predicts from an image's products with the fitted images, so it keeps these: they pass through the
networks again with the new ones. Only products between new and fitted images are made, a few new images at a time.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from helpers.readout import features, gram, receptive_fields, regression
from helpers.readout.gram_by_place import stack_of
from helpers.readout.receptive_fields import tensor

TIMED = 16  # images on which `seconds_for_one` times the networks
LEARNED = ("score", "masks", "weights", "alpha", "dual", "output")  # fields of a Located that are kept with it
TOLERANCE = 1e-3  # of the responses' sd, by which the first fitted image may be predicted otherwise than at the fit


def across(columns, n_train, device):
    """Products of the later images' features with the first n_train images', and last with their own.

    Array of shape (n_new, n_train + 1); features are centred on the first n_train.
    """
    columns -= columns[:n_train].mean(0, dtype=np.float64).astype(np.float32)
    new = columns[n_train:]
    own = np.einsum("ij,ij->i", new, new)[:, None]
    if device.type == "cpu":
        return np.hstack([new @ columns[:n_train].T, own])
    new, fitted = (torch.from_numpy(part).to(device) for part in (new, columns[:n_train]))
    return np.hstack([(new @ fitted.T).cpu().numpy(), own])


def moments_of(stack, masks, *, bandwidth, n_train):
    """What centring and scaling the kernels of new images need of the fitted: array (n_masks, 3, n_train).

    For each mask the mean products of each fitted image with the others, its squared norm once centred, and the mean
    of its Gaussian kernel.
    """
    found = []
    for mask in masks:
        K = receptive_fields.through(stack, mask, n_train)[:, :n_train]
        mean = K.mean(0)
        norms = K.diagonal() - 2 * mean + mean.mean()
        found.append(torch.stack([mean, norms, gram.gaussian(K, n_train=n_train, bandwidth=bandwidth).mean(0)]))
    return torch.stack(found).cpu().numpy()


@dataclass(frozen=True)
class Predictor:
    """A fitted kernel readout, and all that it needs to predict new images.

    Attributes
    ----------
    views : list of View; a located readout sums their Gram matrices by place, a linear one those of their layers, each
        divided by its mean training diagonal, and then each view's likewise
    images : array of shape (n_train, 1 or 3, height, width), the fitted images
    arrays : dict of what was learned: `mean` (n_neurons,), `dual` (n_train, n_neurons); of a located readout the fields
        of receptive_fields.Located and `moments` (see `moments_of`); `first` (n_neurons,), the prediction of the first
        fitted image, and `sd` (1,) of the responses, by which a changed network or code is known
    bandwidth : of a located readout; None of a linear one
    tuned : the trained network whose backbone the views are of, which is saved with it; None of frozen networks
    """

    views: list
    images: np.ndarray
    arrays: dict
    bandwidth: float | None = None
    tuned: object = None

    def predict(self, images):
        """Predictions (n_images, n_neurons), float64, of images of the shape and number type of the fitted ones.

        A located readout takes no more memory than its fit did. Raises ValueError where networks, weights or code are
        others than those it was fitted with.
        """
        images, n_fitted = np.concatenate([self.images[:1], images]), len(self.images)
        some = self._predict_located if self.bandwidth else self._predict_linear
        step = max(64, n_fitted // 2)
        predictions = np.concatenate([some(images[start : start + step]) for start in range(0, len(images), step)])
        if not np.abs(predictions[0] - self.arrays["first"]).max() <= TOLERANCE * self.arrays["sd"][0]:
            seen = ", ".join(dict.fromkeys(f"{view.name} ({view.weights} weights)" for view in self.views))
            raise ValueError(f"{seen}: predicts a fitted image otherwise than when fitted; expected the same weights "
                             "and code as then, or a new fit.")  # fmt: skip
        return predictions[1:]

    @property
    def fitted(self):
        """Of a located readout: the Located that was fitted, without its predictions."""
        learned = {name: self.arrays[name] for name in LEARNED}
        return receptive_fields.Located(None, **learned, bandwidth=self.bandwidth)

    def _predict_located(self, images):
        n_train, both = len(self.images), np.concatenate([self.images, images])
        crossed = np.zeros((self.views[0].grid ** 2, len(images), n_train + 1), np.float32)
        stack_of(self.views, both, n_train=n_train, out=crossed, product=across)
        return self.of_products(crossed)

    def of_products(self, crossed):
        """Predictions of a located readout from products with the fitted images: those of `receptive_fields.predict`.

        crossed : array of shape (grid², n_new, n_train + 1), see `across`
        """
        learned, predictions = self.arrays, 0
        moments = tensor(learned["moments"])
        for mask, (means, norms, kernel_means), dual in zip(learned["masks"], moments, learned["dual"], strict=True):
            K = receptive_fields.through(crossed, mask)
            K, own, scale = K[:, :-1], K[:, -1], norms.mean()
            own_mean = K.mean(1)
            K = (K - means - own_mean[:, None] + means.mean()) / scale
            own = (own - 2 * own_mean + means.mean()) / scale
            K = torch.exp((2 * K - own[:, None] - norms / scale).clip(max=0) / (2 * self.bandwidth**2))
            K = (K - kernel_means - K.mean(1, keepdim=True) + kernel_means.mean()) / (1 - kernel_means.mean())
            predictions = predictions + (K @ tensor(dual)).cpu().numpy().astype(np.float64)
        return receptive_fields.shaped(predictions, learned["output"]) + learned["mean"]

    def _predict_linear(self, images):
        n_train, both = len(self.images), np.concatenate([self.images, images])
        groups = []
        for view in self.views:
            found = features.gram_of_layers(view, both, n_train=n_train)
            groups.append(gram.combine(list(found.values()), n_train=n_train))
        K = gram.combine(groups, n_train=n_train)
        return regression.predict(K, self.arrays["dual"], self.arrays["mean"])

    def seconds_for_one(self):
        """About how long one new image takes: that of the networks to see it and all fitted images."""
        some, began = self.images[:TIMED], time.perf_counter()
        for view in self.views:
            features.gram_of_layers(view, some, n_train=len(some))
        return (time.perf_counter() - began) * (len(self.images) + 1) / len(some)


def predictor(K, fitted, images, responses, views, *, tuned=None):
    """The Predictor of a readout that was fitted to images and their responses.

    K : the Gram matrix or the stack that it was fitted on, of the fitted images first; others are ignored
    fitted : regression.Readout or receptive_fields.Located. tuned : see Predictor
    """
    n_train, mean = len(images), responses.mean(0, dtype=np.float64)
    learned = {"mean": mean, "sd": responses.std(0, dtype=np.float64).mean()[None]}
    if isinstance(fitted, regression.Readout):
        K = gram.scale(gram.centre(K, n_train), n_train)
        learned |= {"dual": fitted.dual, "first": K[0, :n_train] @ fitted.dual + mean}
        return Predictor(views, images, learned)
    bandwidth = float(fitted.bandwidth)
    learned |= {name: getattr(fitted, name) for name in LEARNED}
    learned["moments"] = moments_of(K, fitted.masks, bandwidth=bandwidth, n_train=n_train)
    found = Predictor(views, images, learned, bandwidth, tuned)
    first = found.of_products(np.concatenate([K[:, :1, :n_train], K[:, :1, :1]], axis=2))[0]
    return replace(found, arrays=learned | {"first": first})
