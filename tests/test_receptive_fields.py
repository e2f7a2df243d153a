"""The located readout: Gram matrices by place, leave-one-out, receptive fields of simulated neurons."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from helpers import plots
from helpers.analyses import layer_profile
from helpers.datasets.images import Normalisation, to_batch
from helpers.experiments.networks_and_recipes import LITE0
from helpers.experiments.profiles import PROFILES
from helpers.readout import features, gram, gram_by_place, receptive_fields
from helpers.readout.features import View

PLAIN = Normalisation(mean=(0.0, 0.0, 0.0), sd=(1.0, 1.0, 1.0))
TINY = PROFILES["tiny"]


@pytest.fixture
def network():
    """A convolution whose batch norm gives its channels other variances."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.BatchNorm2d(5), torch.nn.ReLU())
    torch.nn.init.uniform_(network[1].weight, 0.1, 2)
    return network.eval()


def by_place(network, images, layers, *, grid=7, n_train=None, blur=0):
    out = np.zeros((grid**2, len(images), len(images)), np.float32)
    view = View(network, layers, PLAIN, grid=grid, blur=blur)
    return gram_by_place.grams_by_place(view, images, out=out, n_train=n_train or len(images))


def test_gram_matrices_by_place_sum_to_that_of_the_layer(generator, monkeypatch):
    monkeypatch.setattr(gram_by_place, "_spread", lambda *_: np.float32(1))  # what divides a layer without a batch norm
    images = (generator.integers(0, 20, (8, 3, 16, 16)) * 16).astype(np.float32)  # products are exact in float32
    stack = by_place(torch.nn.Identity(), images, [""], grid=4, n_train=4)
    K = features.gram_of_layers(View(torch.nn.Identity(), [""], PLAIN, grid=4), images, n_train=4)[""]
    assert_allclose(stack.sum(0, dtype=np.float64), K, rtol=1e-10)  # 16 places divide as the side of 16 multiplies


@pytest.mark.parametrize("sides", [(6, 6), (4, 10)])
def test_gram_matrices_by_place_are_those_of_blurred_and_scaled_maps(network, generator, sides):
    images, grid, blur = generator.random((6, 3, *sides), dtype=np.float32), 6, 0.2
    stack = by_place(network, images, ["1"], grid=grid, blur=blur)
    with torch.no_grad():
        maps = network[:2](to_batch(torch.from_numpy(images), PLAIN))
    maps = torch.nn.functional.adaptive_avg_pool2d(maps, [min(grid, side) for side in sides]).double().numpy()
    variance = network[1].weight.detach().numpy() ** 2
    scale = (variance + variance.mean() / 10) ** -0.5
    scale *= np.sqrt(np.prod(sides)) / ((variance * scale).sum() * maps[0, 0].size)
    height, width = maps.shape[2:]
    expected = np.zeros((grid, grid, 6, 6))
    for i in range(height):
        for j in range(width):
            y, x = np.mgrid[:height, :width]
            weights = np.exp(-(((y - i) / height) ** 2 + ((x - j) / width) ** 2) / (2 * blur**2))
            at = (maps * weights / weights.sum()).sum((2, 3)) * np.sqrt(scale)
            at -= at.mean(0)
            # fine parts of a place: as many as both grids divide
            for down in range(i * grid, (i + 1) * grid):
                for right in range(j * grid, (j + 1) * grid):
                    expected[down // height, right // width] += at @ at.T / grid**2
    assert_allclose(stack, expected.reshape(-1, 6, 6), atol=1e-5 * expected.max())


def test_no_statistic_comes_from_images_that_are_not_fitted(network, generator):
    images = generator.random((10, 3, 8, 8), dtype=np.float32)
    fit = np.array([1, 2, 4, 7, 8])
    for layer in "12":
        alone = by_place(network, images[fit], [layer])
        among = by_place(network, images, [layer], n_train=10)[:, fit][:, :, fit]
        among, alone = gram.centre(among, 5), gram.centre(alone, 5)
        if layer == "2":  # ends in no batch norm: one number divides it, which all training images give
            among *= np.trace(alone.sum(0)) / np.trace(among.sum(0))
        assert_allclose(among, alone, atol=1e-6 * alone.max())


def test_unseen_images_have_the_norms_of_fitted_ones(tiny, kept_runs):
    stack, _ = layer_profile.grams_by_place(LITE0, tiny, TINY)
    n_train = len(tiny.train.images)
    norms = np.diagonal(gram.centre(stack.sum(0), n_train))
    assert norms[n_train:].max() < 1.5 * norms[:n_train].max()
    assert norms[n_train:].mean() < 1.5 * norms[:n_train].mean()


def test_leave_one_out_equals_scikit_learns_explicit_one(features, generator):
    X = features[:40]
    responses = X[:, :3] @ generator.standard_normal((3, 4)) + 0.1 * generator.standard_normal((40, 4))
    responses[:, 3] = 2
    K, centred = gram.centre(X @ X.T, 40), responses - responses.mean(0)
    scores, left_out, *_ = receptive_fields.leave_one_out(torch.from_numpy(K), torch.from_numpy(centred), [0.1, 5.0])
    for alpha, found, missed in zip([0.1, 5.0], scores.numpy(), left_out.numpy(), strict=True):
        predictions = cross_val_predict(Ridge(alpha=alpha), X, responses, cv=LeaveOneOut())
        assert_allclose(missed, responses - predictions, atol=1e-8)
        errors = ((responses - predictions) ** 2).mean(0)
        assert_allclose(found[:3], 1 - errors[:3] / responses[:, :3].var(0), rtol=1e-8)
        assert found[3] == 0


@pytest.mark.parametrize(("pooled", "expected"), [(0.03, receptive_fields.BLURS[0]), (0.5, receptive_fields.BLURS[-1])])
def test_the_blur_is_as_wide_as_neurons_pool_over(network, generator, pooled, expected):
    images = generator.random((80, 3, 14, 14), dtype=np.float32)
    with torch.inference_mode():
        maps = features.to_grid(network(torch.from_numpy(images)), 7).numpy()
    y, x = np.mgrid[:7, :7]
    weights = np.exp(-((y - 3) ** 2 + (x - 2) ** 2) / (2 * (7 * pooled) ** 2))
    responses = (maps * weights).sum((2, 3)) @ generator.standard_normal((5, 6))
    view = View(network, ["2"], PLAIN, blur=9.0)  # its own blur is ignored
    assert receptive_fields.best_blur(view, images, responses) == expected


N_TRAIN, GRID = 150, 7


@pytest.fixture(scope="module")
def population():
    """Neurons that see a Gaussian part of feature maps: their centres, the maps' stack, responses."""
    generator = np.random.default_rng(1)
    maps = generator.standard_normal((GRID**2, N_TRAIN + 30, 4))
    centres = generator.uniform(0.1, 0.9, (12, 2))
    seen = receptive_fields.on_grid(np.column_stack([centres, np.full(12, 0.12)]), GRID)
    responses = np.einsum("np,pic,nc->in", seen, maps, generator.standard_normal((12, 4)))
    responses += 0.3 * responses.std(0) * generator.standard_normal(responses.shape)
    responses[:, -1] = generator.standard_normal(len(responses))  # sees nothing
    return centres, (maps @ maps.transpose(0, 2, 1)).astype(np.float32), responses


@pytest.fixture(scope="module")
def fitted(population):
    _, stack, responses = population
    return receptive_fields.ridge(stack, responses[:N_TRAIN])


def test_receptive_fields_of_simulated_neurons_are_recovered(population, fitted):
    centres, _, _ = population
    well = fitted.score > 0.4
    assert well.sum() >= 9 and not well[-1]
    assert np.abs(fitted.centres - centres)[well].max() < 1 / GRID
    fields = fitted.fields(GRID)
    assert_allclose(fields.sum((1, 2)), 1, rtol=1e-5)
    middle = (np.arange(GRID) + 0.5) / GRID
    peaks = np.array([[middle[i] for i in np.unravel_index(field.argmax(), field.shape)] for field in fields])
    assert np.abs(peaks - centres)[well].max() < 1.5 / GRID


def test_predictions_are_the_weighted_mean_of_kernel_ridge_through_the_masks(population, fitted):
    _, stack, responses = population
    expected = np.zeros((30, 12))
    for mask, weights, alpha in zip(fitted.masks, fitted.weights, fitted.alpha, strict=True):
        K = np.tensordot(receptive_fields.on_grid(mask[None], GRID)[0], stack.astype(np.float64), 1)
        K = gram.gaussian(K, n_train=N_TRAIN, bandwidth=fitted.bandwidth)
        K = gram.scale(gram.centre(K, N_TRAIN), N_TRAIN)
        mean = responses[:N_TRAIN].mean(0)
        model = KernelRidge(alpha=alpha, kernel="precomputed").fit(K[:N_TRAIN, :N_TRAIN], responses[:N_TRAIN] - mean)
        expected += weights * (model.predict(K[N_TRAIN:, :N_TRAIN]) + mean)
    expected = mean + receptive_fields.shaped(expected - mean, fitted.output)
    assert_allclose(fitted.predictions, expected, atol=1e-3)
    assert_allclose(fitted.weights.sum(0), 1, rtol=1e-5)


def test_the_output_stage_is_scikit_learns_ridge_on_what_is_left(generator):
    left_out = np.column_stack([3 * generator.standard_normal((200, 2)) - 1, np.zeros(200)])
    responses = left_out + [0.1, -0.2, 0] * left_out**2 + [1, 1, 0] * generator.standard_normal((200, 3))
    responses -= responses.mean(0)
    output = receptive_fields._output_stage(responses, responses - left_out)
    for neuron in (0, 1):
        z = (left_out[:, neuron] - left_out[:, neuron].mean()) / left_out[:, neuron].std()
        missing = responses[:, neuron] - left_out[:, neuron]
        model = Ridge(alpha=receptive_fields.OUTPUT_PRIOR, fit_intercept=False)
        found = model.fit(np.column_stack([z, z**2 - 1]), missing - missing.mean())
        expected = left_out[:, neuron] + found.predict(np.column_stack([z, z**2 - 1]))
        assert_allclose(receptive_fields.shaped(left_out, output)[:, neuron], expected)
    far = np.array([[50.0], [51], [52]]) * np.ones(3)  # no parabola where nothing was seen
    assert_allclose(np.diff(receptive_fields.shaped(far, output), axis=0), 1 + output[[0, 0]])
    assert_allclose(receptive_fields.shaped(far, output)[:, 2], far[:, 2])  # a neuron that never varies
    against = receptive_fields._output_stage(-9 * left_out, -10 * left_out)
    assert (np.diff(receptive_fields.shaped(far, against), axis=0) > -1e-9).all()  # never upside down


def test_receptive_fields_are_drawn_where_they_lie(population, fitted):
    axes = plots.receptive_fields(fitted.fields(GRID), fitted.centres, fitted.score, n_shown=2)
    best = fitted.score.argmax()
    assert axes[0].get_title().startswith(f"neuron {best}:")
    assert_allclose(axes[0].images[0].get_array(), fitted.fields(GRID)[best])
    assert_allclose(axes[2].collections[0].get_offsets(), fitted.centres[:, ::-1])
