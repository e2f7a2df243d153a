"""Arithmetic of Gram matrices K = X Xᵀ of features X (n_images, n_features): centre, scale, sum, Gaussian kernel.

K is all that ridge, linear or by a Gaussian kernel, principal-component regression, sums over layers and networks, and
linear CKA need: n_images² numbers, whatever the layer's width. Training images come first in every Gram matrix, and
features are centred on them. `centre`, `scale` and `gaussian` take arrays and tensors.
"""

import numpy as np
import torch


def centre(K, n_train):
    """Centre features on the first n_train images. K : array of shape (..., n_images, n_images)."""
    mean = K[..., :n_train, :].mean(-2, keepdims=True)
    return K - mean - mean.swapaxes(-1, -2) + mean[..., :n_train].mean(-1, keepdims=True)


def scale(K, n_train):
    """Divide by the mean training diagonal. K : array of shape (..., n_images, n_images)."""
    return K / K.diagonal(0, -2, -1)[..., :n_train].mean(-1)[..., None, None]


def combine(kernels, *, n_train):
    """Sum of kernels, each divided by its mean training diagonal: ridge on all their features side by side.

    kernels : iterable of arrays of shape (n_images, n_images); returns one such array. Made or mapped one by one, three
    of them are in memory, whatever their number.
    """
    total = 0
    for K in kernels:
        total += scale(K, n_train)
    return total


def gaussian(K, *, n_train, bandwidth):
    """Gaussian kernel exp(-d² / (2 bandwidth²)) of the features behind a Gram matrix, d the distance of two images.

    Features are first centred and divided by the root of their mean squared norm, both on the training images, so that
    d² is 2 on average between these. The kernel is not centred.

    K : array of shape (n_images, n_images), training images first; returns the same shape.
    """
    K = scale(centre(K, n_train), n_train)
    norms = K.diagonal()
    exp = torch.exp if isinstance(K, torch.Tensor) else np.exp
    return exp((2 * K - norms[:, None] - norms).clip(max=0) / (2 * bandwidth**2))
