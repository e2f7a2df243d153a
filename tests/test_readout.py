"""Readouts against scikit-learn, closed forms and direct float64 products."""

import itertools

import numpy as np
import pytest
import timm
import torch
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer

from helpers import datasets, pixels, readout

N_TRAIN, N_IMAGES, N_NEURONS = 60, 80, 7
PLAIN = datasets.Normalisation(mean=(0.5, 0.5, 0.5), sd=(0.5, 0.5, 0.5))


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def features(generator):
    """Features with a steep spectrum and a mean that is large beside it, as a network's are."""
    return generator.standard_normal((N_IMAGES, 200)) * np.logspace(0, -2, 200) + 5


@pytest.fixture
def responses(features, generator):
    signal = (features - 5) @ generator.standard_normal((200, N_NEURONS))
    return (signal + generator.standard_normal(signal.shape))[:N_TRAIN]


@pytest.fixture
def kernel(features):
    return readout.centre(features @ features.T, N_TRAIN)


@pytest.fixture
def folds(generator):
    parts = np.array_split(generator.permutation(N_TRAIN), 4)
    return [(np.setdiff1d(np.arange(N_TRAIN), part), part) for part in parts]


def direct_gram(network, images, layer, grid=None):
    """From the features of all images at once, in float64."""
    kept = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: kept.append(output.clone())
    )
    with torch.no_grad():
        network.eval()(datasets.to_batch(torch.from_numpy(images), PLAIN))
    hook.remove()
    features = kept[0].double()
    if grid is not None:
        features = torch.nn.functional.adaptive_avg_pool2d(features, min(grid, features.shape[2]))
    features = features.flatten(1).numpy()
    features -= features[: len(images) // 2].mean(0)
    return features @ features.T


@pytest.mark.parametrize("grid", [None, 3])
@pytest.mark.parametrize("slab_bytes", [readout.SLAB_BYTES, 5000])  # one slab; hundreds
def test_gram_equals_the_direct_float64_product(generator, grid, slab_bytes):
    torch.manual_seed(0)
    network = timm.create_model("resnet10t")
    images = generator.integers(0, 256, (10, 1, 64, 64), dtype=np.uint8)
    layers = readout.default_layers(network)
    grams = readout.gram(
        network, images, layers, normalisation=PLAIN, n_train=5, grid=grid, batch_size=4, slab_bytes=slab_bytes
    )
    assert list(grams) == layers and network.training
    for layer in layers:
        expected = direct_gram(network, images, layer, grid)
        assert np.abs(grams[layer] - expected).max() < 1e-5 * np.abs(expected).max()


def test_gram_pools_the_patch_tokens_of_a_vision_transformer(generator):
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2)
    images = generator.random((6, 3, 64, 64), dtype=np.float32)
    layers = readout.default_layers(network)
    assert layers == ["blocks.0", "blocks.1"]
    pooled = readout.gram(network, images, layers, normalisation=PLAIN, n_train=6, grid=1)["blocks.1"]
    with torch.no_grad():
        tokens = network.forward_intermediates(
            datasets.to_batch(torch.from_numpy(images), PLAIN), intermediates_only=True, norm=False
        )[1]
    expected = tokens.mean((2, 3)).double().numpy()
    expected -= expected.mean(0)
    assert_allclose(pooled, expected @ expected.T, atol=1e-5 * np.abs(pooled).max())


def test_gram_at_other_pixels_is_that_of_resized_images(generator):
    images = generator.random((6, 3, 8, 12), dtype=np.float32)
    larger = pixels.resized(images, np.arange(6), (16, 24))
    grams = [
        readout.gram(torch.nn.Identity(), shown, [""], normalisation=PLAIN, n_train=4, pixels=size)[""]
        for shown, size in ((images, (16, 24)), (larger, None))
    ]
    assert_allclose(*grams, atol=1e-4)


def test_gram_names_the_layers_that_are_not_there(generator):
    images = generator.random((4, 3, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="no layers"):
        readout.gram(torch.nn.Sequential(torch.nn.ReLU()), images, ["layer9"], normalisation=PLAIN, n_train=4)


def test_pixel_gram_is_that_of_the_pixels(generator):
    images = generator.random((8, 3, 6, 6), dtype=np.float32)
    pixels = images.reshape(8, -1).astype(np.float64)
    pixels -= pixels[:5].mean(0)
    assert_allclose(readout.pixel_gram(images, n_train=5), pixels @ pixels.T, atol=1e-5)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("resnet18", ["act1"] + [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]),
        ("densenet121", [f"features.denseblock{i}" for i in (1, 2, 3, 4)]),
        ("mobilenetv3_small_050", [f"blocks.{i}.{j}" for i, n in enumerate((1, 2, 3, 2, 3, 1)) for j in range(n)]),
        ("vgg11", [f"features.{i}" for i in (1, 4, 9, 14, 19, 20)]),
    ],
)
def test_default_layers_are_the_blocks(name, expected):
    with torch.device("meta"):
        assert readout.default_layers(timm.create_model(name)) == expected


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_ridge_equals_scikit_learn_at_the_same_penalty(features, responses, kernel, folds, alpha):
    fitted = readout.ridge(kernel, responses, folds=folds, alphas=[alpha])
    penalty = alpha * np.diag(kernel)[:N_TRAIN].mean()
    expected = Ridge(alpha=penalty).fit(features[:N_TRAIN], responses).predict(features[N_TRAIN:])
    assert_allclose(fitted.predictions, expected, rtol=1e-5, atol=1e-5)
    assert_allclose(fitted.alpha, alpha, rtol=1e-5)


def test_ridge_chooses_each_neurons_penalty_as_scikit_learns_folds_do(features, responses, kernel, folds):
    alphas = np.logspace(-2, 3, 6)
    fitted = readout.ridge(kernel, responses, folds=folds, alphas=alphas)
    loss = np.zeros((len(alphas), N_NEURONS))
    scale = np.diag(kernel)[:N_TRAIN].mean()
    for fit, held in folds:
        for i, alpha in enumerate(alphas):
            model = Ridge(alpha=alpha * scale).fit(features[fit], responses[fit])
            loss[i] += ((model.predict(features[held]) - responses[held]) ** 2).mean(0) / len(folds)
    assert_allclose(fitted.alpha, alphas[loss.argmin(0)], rtol=1e-5)
    assert_allclose(fitted.score, 1 - loss.min(0) / responses.var(0), atol=1e-4)


def test_gaussian_kernel_equals_scikit_learns(features):
    scaled = features - features[:N_TRAIN].mean(0)
    scaled /= np.sqrt((scaled[:N_TRAIN] ** 2).sum(1).mean())
    expected = rbf_kernel(scaled, gamma=1 / (2 * 1.5**2))
    assert_allclose(readout.gaussian(features @ features.T, n_train=N_TRAIN, bandwidth=1.5), expected, atol=1e-9)


@pytest.mark.parametrize("bandwidth", readout.BANDWIDTHS)
def test_gaussian_ridge_finds_the_bandwidth_and_predicts_as_scikit_learn_does(generator, folds, bandwidth):
    features = generator.standard_normal((N_IMAGES, 5))
    K = features @ features.T
    made = readout.gaussian(K, n_train=N_TRAIN, bandwidth=bandwidth)
    responses = (made @ generator.standard_normal((N_IMAGES, N_NEURONS)))[:N_TRAIN]

    def predict(kernel, fit, other, alpha):
        centred = (centre := KernelCenterer()).fit_transform(kernel[np.ix_(fit, fit)])
        mean = responses[fit].mean(0)
        model = KernelRidge(alpha=alpha, kernel="precomputed").fit(centred, responses[fit] - mean)
        return model.predict(centre.transform(kernel[np.ix_(other, fit)])) + mean

    train, other, found = np.arange(N_TRAIN), np.arange(N_TRAIN, N_IMAGES), {}
    for offered in readout.BANDWIDTHS:
        kernel = readout.gaussian(K, n_train=N_TRAIN, bandwidth=offered)
        scale = np.diag(readout.centre(kernel, N_TRAIN))[:N_TRAIN].mean()
        losses = np.zeros((len(readout.ALPHAS), N_NEURONS))
        for (fit, held), (i, alpha) in itertools.product(folds, enumerate(readout.ALPHAS)):
            errors = predict(kernel, fit, held, alpha * scale) - responses[held]
            losses[i] += (errors**2).mean(0) / len(folds)
        alphas = readout.ALPHAS[losses.argmin(0)]
        found[offered] = (1 - losses.min(0) / responses.var(0)).mean(), predict(kernel, train, other, alphas * scale)
    fitted = readout.gaussian_ridge(K, responses, folds=folds)
    assert fitted.bandwidth == max(found, key=lambda offered: found[offered][0]) == bandwidth
    assert_allclose(fitted.predictions, found[bandwidth][1], atol=1e-5)


def test_multiple_kernel_ridge_with_one_weighting_is_ridge_on_the_sum(generator, responses, kernel, folds):
    other = generator.standard_normal((N_IMAGES, 30))
    kernels = [kernel, other @ other.T]
    fitted = readout.multiple_kernel_ridge(kernels, responses, folds=folds, n_iter=1, alphas=[10.0])
    # The sum of two scaled kernels has twice the diagonal of their mean, which the random search starts from.
    total = readout.combine([readout.centre(k, N_TRAIN) for k in kernels], n_train=N_TRAIN)
    assert_allclose(
        fitted.predictions,
        readout.ridge(total, responses, folds=folds, alphas=[10.0]).predictions,
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("n_components", [10, 1000])
def test_principal_component_regression_equals_scikit_learns(features, responses, kernel, n_components):
    predictions = readout.principal_component_regression(kernel, responses, n_components=n_components)
    pca = PCA(min(n_components, N_TRAIN - 1), svd_solver="full").fit(features[:N_TRAIN])
    model = LinearRegression().fit(pca.transform(features[:N_TRAIN]), responses)
    assert_allclose(predictions, model.predict(pca.transform(features[N_TRAIN:])), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fit", [readout.ridge, readout.gaussian_ridge])
def test_cross_predict_never_sees_the_held_fold(responses, kernel, folds, fit):
    predictions = readout.cross_predict(fit, kernel, responses, folds)
    assert np.isfinite(predictions).all()
    held = folds[0][1]
    altered = responses.copy()
    altered[held] += 100
    assert_allclose(readout.cross_predict(fit, kernel, altered, folds)[held], predictions[held])


def test_cka_is_one_for_the_same_features_rotated_scaled_and_moved(features, generator):
    rotation, _ = np.linalg.qr(generator.standard_normal((200, 200)))
    moved = 3 * features @ rotation + 1
    other = generator.standard_normal((N_IMAGES, 200))
    gram, moved_gram, other_gram = features @ features.T, moved @ moved.T, other @ other.T
    assert_allclose(readout.cka(gram, gram), 1)
    assert_allclose(readout.cka(gram, moved_gram), 1, rtol=1e-8)
    assert_allclose(readout.cka(gram, other_gram), readout.cka(moved_gram, other_gram), atol=1e-8)
    assert abs(readout.cka(gram, other_gram)) < 0.1
