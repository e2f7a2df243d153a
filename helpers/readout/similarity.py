"""Similarity of representations: unbiased linear CKA."""

import numpy as np


def cka(K, L):
    """Unbiased linear CKA of two Gram matrices of the same images (Song et al. 2012; Nguyen, Raghu & Kornblith 2021).

    K, L : arrays of shape (n_images, n_images), centred or not. The Gram matrix of the responses,
    responses @ responses.T, stands for the population. Returns a number: 1 for the same features up to rotation and
    scale, around 0 for unrelated ones, NaN below 4 images.
    """
    if len(K) < 4:
        return np.nan
    return _hsic(K, L) / np.sqrt(_hsic(K, K) * _hsic(L, L))


def _hsic(K, L):
    """The unbiased HSIC estimator, eq. 5 of Song et al. 2012."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    product = np.sum(K * L) + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 * K.sum(0) @ L.sum(0) / (n - 2)
    return product / (n * (n - 3))
