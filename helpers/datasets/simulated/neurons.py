"""Simulated neurons: responses to the rendered scenes, with a known part of labels, of places and of views.

What is planted is known, so that an analysis can be tested: does it find an effect that was put in, and none where none
was? Nothing here is matched to how a network scores.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

N_NEURONS = 168
RESPONSE_SD, RELIABILITY = 0.37, 0.82  # of the recordings: Majaj et al. 2015, as in the course file


@dataclass(frozen=True)
class Simulation:
    """Simulated responses in the units of the file, and what was planted; rows as in the scenes.

    Attributes
    ----------
    trials : float32 array of shape (n_images, n_trials, n_neurons)
    responses : array of shape (n_images, n_neurons)
        Without trial noise.
    label, local, view : arrays of shape (n_images, n_neurons)
        The parts that responses are the sum of (up to a constant and to rates cut off at zero): of objects and
        categories, of luminance and contrast energy in the receptive field, of pose, size and position.
    label_share, local_share, reliability : arrays of shape (n_neurons,)
        Planted shares of the explainable variance, and explainable share of the trial average's variance.
    """

    trials: np.ndarray
    responses: np.ndarray
    label: np.ndarray
    local: np.ndarray
    view: np.ndarray
    label_share: np.ndarray
    local_share: np.ndarray
    reliability: np.ndarray


def spread(mean, concentration, rng):
    """Quantiles of a Beta distribution in random order: neurons differ, and their mean is the one asked for."""
    if mean in (0, 1):
        return np.full(N_NEURONS, float(mean))
    quantiles = (np.arange(N_NEURONS) + 0.5) / N_NEURONS
    return rng.permutation(stats.beta.ppf(quantiles, mean * concentration, (1 - mean) * concentration))


def unit(drive, index=None):
    """Drives of mean 0 and sd 1 per neuron; with the images' object index, of mean 0 within each object too."""
    groups = np.zeros(len(drive), int) if index is None else index
    sums = np.zeros((groups.max() + 1, drive.shape[1]))
    np.add.at(sums, groups, drive)
    drive = drive - (sums / np.bincount(groups)[:, None])[groups]
    sd = drive.std(0)
    return drive / np.where(sd > 1e-9, sd, 1)


def local_drive(pixels, centre, width, rng):
    """Luminance and root mean square contrast along an orientation, in the receptive field, mixed at random."""
    axis = (np.arange(32) + 0.5) / 16 - 1
    field = np.exp(-((axis[:, None] - centre[:, 0]) ** 2) / (2 * width**2))[None]  # (1, 32, n_neurons), along x
    field = field * np.exp(-((-axis[:, None] - centre[:, 1]) ** 2) / (2 * width**2))[:, None]
    field = (field / field.sum((0, 1))).reshape(1024, -1)
    pool = torch.nn.AdaptiveAvgPool2d(32)
    parts = np.array_split(pixels, -(-len(pixels) // 64))  # full images as floats would be too much at once
    small = torch.cat([pool(torch.from_numpy(part).float() / 255) for part in parts]).double().numpy()
    dy, dx = np.gradient(small, axis=(1, 2))
    # einsum and not matmul: BLAS may round otherwise with another number of threads, which would change Poisson draws.
    pooled = [np.einsum("ip,pk->ik", m.reshape(len(m), -1), field) for m in (small, dx * dx, dx * dy, dy * dy)]
    luminance, xx, xy, yy = pooled
    angle, mix = rng.uniform(0, np.pi, N_NEURONS), rng.uniform(0, 2 * np.pi, N_NEURONS)
    c, s = np.cos(angle), np.sin(angle)
    contrast = np.sqrt((c * c * xx + 2 * c * s * xy + s * s * yy).clip(0))
    return np.cos(mix) * unit(luminance) + np.sin(mix) * unit(contrast)


def view_drive(scenes, label, index, category_index, centre, width, rng):
    """Tuning to yaw (which differs between categories and objects), pitch, roll, size, and position in the field."""
    n_objects, n_categories = index.max() + 1, category_index.max() + 1
    preferred = rng.uniform(0, 2 * np.pi, (n_categories, N_NEURONS))[category_index]
    preferred = preferred + 0.5 * rng.standard_normal((n_objects, N_NEURONS))[index]
    yaw = np.cos(np.radians(scenes.yaw)[:, None] - preferred)
    tilt = scenes.pitch[:, None] / 10 * rng.standard_normal(N_NEURONS) + scenes.roll[:, None] / 6 * rng.standard_normal(
        N_NEURONS
    )
    best_size = rng.uniform(0.4, 1.0, N_NEURONS)
    size = np.exp(-((scenes.span[:, None] - best_size) ** 2) / (2 * 0.15**2))
    squared = ((scenes.position[:, :, None] - centre.T) ** 2).sum(1)
    position = np.exp(-squared / (2 * width**2)) * (
        1 + 0.5 * label
    )  # a preferred object drives more at the field's centre
    weights = rng.dirichlet([1.5, 1, 1.5, 1.5], N_NEURONS).T ** 0.5
    drives = [unit(drive, index) for drive in (yaw, tilt, size, position)]
    return sum(weight * drive for weight, drive in zip(weights, drives, strict=True))


def simulate(scenes, *, n_train, label_share=0.35, local_share=0.2, n_trials=28, seed=0):
    """Responses of 168 neurons to scenes.

    Objects and categories drive a share label_share of each neuron's explainable variance (on average over neurons),
    luminance and contrast energy in its receptive field a share local_share, view and its interaction with the object
    the rest. All but the first are centred within each object, so nothing of them can be read as a label effect. Counts
    are Poisson; gains are such that the mean over trials has a reliability of .82 on average.

    Parameters
    ----------
    scenes : Scenes
    n_train : int
        The first so many images set each neuron's mean to 0 and sd to .37.
    label_share, local_share : floats, with a sum of at most 1
    n_trials, seed : ints

    Returns
    -------
    Simulation
    """
    if min(label_share, local_share) < 0 or label_share + local_share > 1:
        raise ValueError(f"shares must be 0 or more and sum to 1 at most, not {label_share} and {local_share}")
    rng = np.random.default_rng([seed, 2])
    centre, width = rng.normal(0, 0.25, (N_NEURONS, 2)).clip(-0.6, 0.6), rng.uniform(0.25, 0.7, N_NEURONS)
    index = np.unique(scenes.objects, return_inverse=True)[1]
    category_index = np.unique(scenes.categories, return_inverse=True)[1]
    shares = spread(label_share, 8, rng)
    local_shares = (1 - shares) * spread(local_share / (1 - label_share) if label_share < 1 else 0, 8, rng)

    of_category = rng.standard_normal((category_index.max() + 1, N_NEURONS))[category_index]
    label = unit(of_category + rng.standard_normal((index.max() + 1, N_NEURONS))[index])
    local = unit(local_drive(scenes.pixels, centre, width, rng), index)
    view = view_drive(scenes, label, index, category_index, centre, width, rng)
    view = unit(
        view - local * (view * local).sum(0) / (local**2).sum(0).clip(1e-9), index
    )  # so that their variances add
    parts = np.sqrt([shares, local_shares, 1 - shares - local_shares])[:, None] * [label, local, view]

    # Counts of mean b and signal sd b / depth average to reliability r if b = depth**2 r / ((1 - r) n_trials).
    reliability, depth = spread(RELIABILITY, 20, rng), rng.uniform(4, 6, N_NEURONS)
    base = depth**2 * reliability / ((1 - reliability) * n_trials)
    rates = (base + parts.sum(0) * base / depth).clip(0)
    counts = rng.poisson(rates[:, None], (len(rates), n_trials, N_NEURONS))
    average = counts[:n_train].mean(1)
    mean, scale = average.mean(0), RESPONSE_SD / average.std(0)
    label, local, view = parts * (base / depth * scale)
    trials, responses = ((counts - mean) * scale).astype(np.float32), (rates - mean) * scale
    return Simulation(trials, responses, label, local, view, shares, local_shares, reliability)
