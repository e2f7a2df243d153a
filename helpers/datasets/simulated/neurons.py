"""Simulated neurons: responses to the rendered scenes, with a known part of labels, of places and of views.

What is planted is known, so that an analysis can be tested: does it find an effect that was put in, and none where none
was? Nothing here is matched to how a network scores.

As in IT, what tells objects apart is something that can be seen, neurons share it, and views disturb it: all neurons
are tuned to the same eight features of an object's appearance (`rendering.looks`). Their mean over an object's views
is what labels can teach, so objects that look alike, as those of a category do, drive a neuron alike; the same tuning
to how a view departs from that mean, and to common fluctuations from trial to trial, is what blurs them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

N_NEURONS = 168
RESPONSE_SD, RELIABILITY = 0.37, 0.82  # of the recordings: Majaj et al. 2015, as in the course file
SHARED_NOISE = 0.25  # of a neuron's variance between trials, common to neurons of like tuning
POSE_SHARE = 0.4  # of what labels and places leave; size and position have the rest


@dataclass(frozen=True)
class Simulation:
    """Simulated responses in the units of the file, and what was planted; rows as in the scenes.

    Attributes
    ----------
    trials : float32 array of shape (n_images, n_trials, n_neurons)
    responses : array of shape (n_images, n_neurons)
        Without trial noise.
    label, local, view : arrays of shape (n_images, n_neurons)
        The parts that responses are the sum of (up to a constant and to rates cut off at zero): of objects, of
        luminance and contrast energy in the receptive field, of pose, size and position.
    label_share, local_share, reliability : arrays of shape (n_neurons,)
        Planted shares of the explainable variance, and explainable share of the trial average's variance.
    receptive_fields : array of shape (n_neurons, 3)
        Of Gaussian fields, in image units: x of the centre from 0 (left) to 1 (right), y from 0 (top) to 1 (bottom),
        and the width, a standard deviation, as a share of the image's side.
    """

    trials: np.ndarray
    responses: np.ndarray
    label: np.ndarray
    local: np.ndarray
    view: np.ndarray
    label_share: np.ndarray
    local_share: np.ndarray
    reliability: np.ndarray
    receptive_fields: np.ndarray


def spread(mean, concentration, rng):
    """Quantiles of a Beta distribution in random order: neurons differ, and their mean is the one asked for."""
    if mean in (0, 1):
        return np.full(N_NEURONS, float(mean))
    quantiles = (np.arange(N_NEURONS) + 0.5) / N_NEURONS
    return rng.permutation(stats.beta.ppf(quantiles, mean * concentration, (1 - mean) * concentration))


def product(images, weights):
    """Matrix product without BLAS, which may round otherwise with another number of threads: Poisson draws differ."""
    return np.einsum("if,fn->in", images, weights)


def unit(drive):
    """Columns of mean 0 and sd 1."""
    sd = drive.std(0)
    return (drive - drive.mean(0)) / np.where(sd > 1e-9, sd, 1)


def whitened(features):
    """Uncorrelated features of mean 0 and sd 1, as close as can be to the given ones (ZCA)."""
    features = unit(features)
    values, vectors = np.linalg.eigh(product(features.T, features) / len(features))
    return product(features, product(vectors / np.sqrt(values.clip(1e-3)), vectors.T))


def expectation(drive, index, doubt):
    """Each object's expected drive, drawn from what its images tell of it: array of the drive's shape.

    The mean over an object's images misses its expectation by chance, and as much is drawn at random here (wild
    bootstrap, Wu 1986). Less the mean itself, drives would sum to zero over an object's images, and what it is shown
    to do in training images would be opposed in those of val.

    Parameters
    ----------
    drive : array of shape (n_images, n_columns)
    index : int array of shape (n_images,), the object in each image
    doubt : standard normal array of shape (n_images,)
    """
    counts = np.bincount(index)[:, None]

    def mean(values):
        sums = np.zeros((len(counts), values.shape[1]))
        np.add.at(sums, index, values)
        return (sums / counts)[index]

    within = drive - mean(drive)
    return mean(drive) + mean(within * doubt[:, None]) * np.sqrt(counts / (counts - 1).clip(1))[index]


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
    luminance, xx, xy, yy = (product(m.reshape(len(m), -1), field) for m in (small, dx * dx, dx * dy, dy * dy))
    angle, mix = rng.uniform(0, np.pi, N_NEURONS), rng.uniform(0, 2 * np.pi, N_NEURONS)
    c, s = np.cos(angle), np.sin(angle)
    contrast = np.sqrt((c * c * xx + 2 * c * s * xy + s * s * yy).clip(0))
    return np.cos(mix) * unit(luminance) + np.sin(mix) * unit(contrast)


def place_drive(scenes, label, centre, width, rng):
    """Tuning to size, and to position in the receptive field, where a preferred object drives more."""
    best_size = rng.uniform(0.4, 1.0, N_NEURONS)
    size = np.exp(-((scenes.span[:, None] - best_size) ** 2) / (2 * 0.15**2))
    squared = ((scenes.position[:, :, None] - centre.T) ** 2).sum(1)
    position = np.exp(-squared / (2 * width**2)) * (1 + 0.5 * label)
    mix = rng.uniform(0, np.pi / 2, N_NEURONS)
    return np.cos(mix) * unit(size) + np.sin(mix) * unit(position)


def planted_parts(scenes, tuning, label_share, local_share, rng):
    """What drives the neurons: (label, local, view), of sd sqrt(share) each, label_share, local_share, and fields."""
    centre, width = rng.normal(0, 0.25, (N_NEURONS, 2)).clip(-0.6, 0.6), rng.uniform(0.25, 0.7, N_NEURONS)
    index = np.unique(scenes.objects, return_inverse=True)[1]
    doubt = rng.standard_normal(len(index))
    of_object = expectation(scenes.appearance, index, doubt)
    label = unit(product(whitened(of_object), tuning))
    pose = unit(product(whitened(scenes.appearance - of_object), tuning))
    local, place = local_drive(scenes.pixels, centre, width, rng), place_drive(scenes, label, centre, width, rng)
    local, place = (unit(drive - expectation(drive, index, doubt)) for drive in (local, place))

    # Object and pose have one ratio in all neurons: else one neuron less another would show the object free of pose.
    looks_share = label_share + POSE_SHARE * (1 - label_share - local_share)
    of_looks = spread(looks_share, 8, rng)
    labels = of_looks * (label_share / looks_share if label_share else 0)
    locals_ = (1 - of_looks) * spread(local_share / (1 - looks_share) if local_share else 0, 8, rng)
    view = np.sqrt(of_looks - labels) * pose + np.sqrt((1 - of_looks - locals_).clip(0)) * place
    view = unit(view - local * (view * local).mean(0))  # so that their variances add
    shares = np.stack([labels, locals_, (1 - labels - locals_).clip(0)])
    fields = np.column_stack([(1 + centre[:, 0]) / 2, (1 - centre[:, 1]) / 2, width / 2])
    return np.sqrt(shares)[:, None] * [label, local, view], labels, locals_, fields


def simulate(scenes, *, n_train, label_share=0.35, local_share=0.2, n_trials=28, seed=0):
    """Responses of 168 neurons to scenes.

    Objects drive a share label_share of each neuron's explainable variance (on average over neurons), luminance and
    contrast energy in its receptive field a share local_share, view and its interaction with the object the rest. All
    but the first are centred on each object's expectation, as far as its n scenes tell it: about 2 / n of their
    variance stays with the object, half of it opposed to what its views show, and can be learned as a label effect.
    Counts are Poisson about rates that fluctuate in common; the mean over trials has a reliability of .82 on average.

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
    tuning = rng.standard_normal((scenes.appearance.shape[1], N_NEURONS))
    parts, labels, locals_, fields = planted_parts(scenes, tuning, label_share, local_share, rng)

    # In units of the drive. Poisson counts of mean b and signal sd b / depth have a noise of depth**2 / b.
    reliability, depth = spread(RELIABILITY, 20, rng), rng.uniform(6, 9, N_NEURONS)
    noise = n_trials * (1 / reliability - 1)
    base = depth**2 / ((1 - SHARED_NOISE) * noise)
    common = rng.standard_normal((len(scenes.objects) * n_trials, len(tuning)))
    common = product(common, tuning * np.sqrt(SHARED_NOISE * noise / (tuning**2).sum(0)))
    drive = parts.sum(0)
    rates = base * (1 + (drive[:, None] + common.reshape(len(drive), n_trials, -1)) / depth)
    counts = rng.poisson(rates.clip(0))
    average = counts[:n_train].mean(1)
    mean, scale = average.mean(0), RESPONSE_SD / average.std(0)
    trials, responses = (counts - mean) * scale, (base * (1 + drive / depth) - mean) * scale
    label, local, view = parts * (base / depth * scale)
    return Simulation(
        trials.astype(np.float32), responses, label, local, view, labels, locals_, reliability, receptive_fields=fields
    )
