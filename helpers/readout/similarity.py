"""Similarity of representations without a fit: unbiased linear CKA, and RSA with its noise ceiling and intervals.

Both need Gram matrices alone, of features centred over the images compared, as `gram.centre` does it. A correlation
distance centres each image on its own mean over features as well, which a Gram matrix does not hold: `centred_gram`
does it where the features are at hand (pixels, responses, predicted responses). For the cached Gram matrices of layers
it is left out: of features centred over images it changes the ranks of the distances little (Spearman .998 or more of
with and without, for seven blocks of frozen Lite0 on the 144 val images of the stand-in).
"""

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from helpers import metrics
from helpers.readout import gram


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


def centred_gram(features):
    """Gram matrix of features (n_images, ...) less each image's mean over features, float64 (n_images, n_images)."""
    X = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    X = X - X.mean(1, keepdims=True)
    return X @ X.T


def rdm(K):
    """Representational dissimilarities of n images from a Gram matrix: 1 - cosine, (n (n - 1) / 2,) by rows.

    Features are centred over the images. With K by `centred_gram` it is the correlation distance of Kriegeskorte et al.
    2008 (Front. Syst. Neurosci. 2:4) of these; NaN for an image that is their mean.
    """
    K = gram.centre(np.asarray(K, dtype=np.float64), len(K))
    norms = np.sqrt(np.diag(K).clip(min=0))
    norms = np.where(norms > 0, norms, np.nan)
    distance = 1 - K / norms[:, None] / norms
    return distance[np.triu_indices(len(K), 1)]


def rsa(K, L):
    """Spearman correlation of the dissimilarities of two Gram matrices; ties get mean ranks.

    NaN where a dissimilarity is, or where all are alike.
    """
    return _pearson(rankdata(rdm(K)), rankdata(rdm(L)))


def _pearson(a, b):
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return a @ b / size if size > 0 else np.nan


def split_halves(repeats, *, n_splits=5):
    """The population's Gram matrices by halves of the trials: a list of pairs, each of shape (n_images, n_images).

    repeats : array of shape (n_images, n_repeats, n_neurons), NaN where a trial is missing, two trials an image
    at least. Halves are `metrics.split_halves`.
    """
    halves = metrics.split_halves(np.asarray(repeats, dtype=np.float64), n_splits=n_splits)
    return [tuple(map(centred_gram, pair)) for pair in halves]


def rsa_ceiling(halves):
    """Noise ceiling of RSA with the halves of `split_halves`, lower and upper, as rsatoolbox defines it.

    Lower: the mean similarity of an RDM with the mean of the others, here the other half; upper: with the mean of all,
    itself among them (Nili et al. 2014, PLoS Comput. Biol. 10:e1003553). RDMs are averaged as ranks. Means over splits.
    """
    found = []
    for pair in halves:
        ranks = [rankdata(rdm(K)) for K in pair]
        found.append((_pearson(*ranks), np.mean([_pearson(each, rankdata(sum(ranks))) for each in ranks])))
    lower, upper = np.mean(found, axis=0)
    return float(lower), float(upper)


def population(responses, repeats=None):
    """What `compared` takes as references, and the noise ceiling for it: a list of Gram matrices, (lower, upper).

    Halves of the repeats where all neurons have two trials of every image, else the responses' own; a ceiling of NaN.
    responses : array of shape (n_images, n_neurons). repeats : (n_images, n_repeats, n_neurons) or None
    """
    if repeats is None or (~np.isnan(repeats)).sum(1).min() < 2:
        return [centred_gram(responses)], (np.nan, np.nan)
    halves = split_halves(repeats)
    return [K for pair in halves for K in pair], rsa_ceiling(halves)


def compared(representations, references, *, measure=rsa, n_resamples=200, seed=0):
    """Similarity of several representations with the population, with intervals over images.

    Halves of the images are drawn without replacement: the spread of their scores is that of a bootstrap (Shao & Wu
    1989, Ann. Stat. 17:1176), and no image is paired with itself, as a bootstrap's copies are.

    Parameters
    ----------
    representations : dict name -> Gram matrix (n_images, n_images)
    references : Gram matrices of the population for the same images, over which scores are averaged; see `population`
    measure : `rsa` or `cka`

    Returns
    -------
    pandas.DataFrame
        Index name; columns similarity, low, high (95 % over images), and highest: True where it cannot be told from
        the highest one, by paired intervals corrected for their number.
    """
    rng, n_images = np.random.default_rng(seed), len(references[0])

    def scores(index):
        kernels = [K[np.ix_(index, index)] for K in (*representations.values(), *references)]
        if measure is rsa:  # each is ranked once
            kernels = [rankdata(rdm(K)) for K in kernels]
        found, population = kernels[: len(representations)], kernels[len(representations) :]
        compare = _pearson if measure is rsa else measure
        return [np.mean([compare(each, reference) for reference in population]) for each in found]

    estimates = np.array(scores(np.arange(n_images)))
    halves = (np.sort(rng.choice(n_images, n_images // 2, replace=False)) for _ in range(n_resamples))
    resampled = np.array([scores(index) for index in halves])
    best = int(np.nanargmax(estimates)) if np.isfinite(estimates).any() else 0

    def half_width(draws, comparisons):
        return norm.ppf(1 - (1 - metrics.LEVEL) / (2 * comparisons)) * draws.std(0, ddof=1)

    half = half_width(resampled, 1)
    apart = half_width(resampled[:, [best]] - resampled, max(len(estimates) - 1, 1))
    highest = estimates[best] - estimates <= apart
    columns = {"similarity": estimates, "low": estimates - half, "high": estimates + half, "highest": highest}
    return pd.DataFrame(columns, index=list(representations))


def highest_at(found):
    """Where a frame of `compared` is highest, in words, with what cannot be told from it."""
    if found["similarity"].isna().all():
        return "nothing, as no similarity is defined"
    best = found["similarity"].idxmax()
    words = f"{best} ({found['similarity'][best]:.2f} [{found['low'][best]:.2f}, {found['high'][best]:.2f}])"
    others = [name for name in found.index[found["highest"]] if name != best]
    return words if not others else f"{words}, not told apart from {', '.join(others)}"
