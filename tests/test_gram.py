"""Gram matrices against direct float64 products, and their kernels against scikit-learn."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from numpy.testing import assert_allclose
from sklearn.metrics.pairwise import rbf_kernel

from helpers.analyses import frozen_networks
from helpers.datasets.images import Normalisation, resized, to_batch
from helpers.models import architecture
from helpers.readout import features, gram, receptive_fields, regression, similarity
from helpers.readout.features import View

PLAIN = Normalisation(mean=(0.5, 0.5, 0.5), sd=(0.5, 0.5, 0.5))


def direct_gram(network, images, layer, grid=None):
    """From the features of all images at once, in float64."""
    kept = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: kept.append(output.clone())
    )
    with torch.no_grad():
        network.eval()(to_batch(torch.from_numpy(images), PLAIN))
    hook.remove()
    features = kept[0].double()
    if grid is not None:
        features = torch.nn.functional.adaptive_avg_pool2d(features, min(grid, features.shape[2]))
    features = features.flatten(1).numpy()
    features -= features[: len(images) // 2].mean(0)
    return features @ features.T


@pytest.mark.parametrize("grid", [None, 3])
@pytest.mark.parametrize("slab_bytes", [features.SLAB_BYTES, 5000])  # one slab; hundreds
def test_gram_equals_the_direct_float64_product(generator, grid, slab_bytes):
    torch.manual_seed(0)
    network = timm.create_model("resnet10t")
    images = generator.integers(0, 256, (10, 1, 64, 64), dtype=np.uint8)
    layers = architecture.default_layers(network)
    view = View(network, layers, PLAIN, grid=grid)
    grams = features.gram_of_layers(view, images, n_train=5, batch_size=4, slab_bytes=slab_bytes)
    assert list(grams) == layers and network.training
    for layer in layers:
        expected = direct_gram(network, images, layer, grid)
        assert np.abs(grams[layer] - expected).max() < 1e-5 * np.abs(expected).max()


def test_gram_pools_the_patch_tokens_of_a_vision_transformer(generator):
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2)
    images = generator.random((6, 3, 64, 64), dtype=np.float32)
    layers = architecture.default_layers(network)
    assert layers == ["blocks.0", "blocks.1"]
    pooled = features.gram_of_layers(View(network, layers, PLAIN, grid=1), images, n_train=6)["blocks.1"]
    with torch.no_grad():
        tokens = network.forward_intermediates(
            to_batch(torch.from_numpy(images), PLAIN), intermediates_only=True, norm=False
        )[1]
    expected = tokens.mean((2, 3)).double().numpy()
    expected -= expected.mean(0)
    assert_allclose(pooled, expected @ expected.T, atol=1e-5 * np.abs(pooled).max())


def test_gram_at_other_pixels_is_that_of_resized_images(generator):
    images = generator.random((6, 3, 8, 12), dtype=np.float32)
    larger = resized(images, np.arange(6), (16, 24))
    grams = [
        features.gram_of_layers(View(torch.nn.Identity(), [""], PLAIN, size, grid=None), shown, n_train=4)[""]
        for shown, size in ((images, (16, 24)), (larger, None))
    ]
    assert_allclose(*grams, atol=1e-4)


def test_gram_names_the_layers_that_are_not_there(generator):
    images = generator.random((4, 3, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="no layers"):
        features.gram_of_layers(View(torch.nn.Sequential(torch.nn.ReLU()), ["layer9"], PLAIN), images, n_train=4)


def test_pixel_gram_is_that_of_the_pixels(generator):
    images = generator.random((8, 3, 6, 6), dtype=np.float32)
    pixels = images.reshape(8, -1).astype(np.float64)
    pixels -= pixels[:5].mean(0)
    assert_allclose(features.gram_of_pixels(images, n_train=5), pixels @ pixels.T, atol=1e-5)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("resnet18", ["act1"] + [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]),
        ("densenet121", [f"features.denseblock{i}" for i in (1, 2, 3, 4)]),
        ("mobilenetv3_small_050", [f"blocks.{i}.{j}" for i, n in enumerate((1, 2, 3, 2, 3, 1)) for j in range(n)]),
        ("vgg11", [f"stage.{i}" for i in range(6)]),  # of forward_intermediates: it has no blocks
        ("hrnet_w18_small", [f"stage.{i}" for i in range(5)]),  # layer1 alone is called as blocks are
    ],
)
def test_default_layers_are_the_blocks_or_timms_stages(name, expected):
    with torch.device("meta"):
        assert architecture.default_layers(timm.create_model(name)) == expected


def test_gaussian_kernel_equals_scikit_learns(features):
    scaled = features - features[:60].mean(0)
    scaled /= np.sqrt((scaled[:60] ** 2).sum(1).mean())
    expected = rbf_kernel(scaled, gamma=1 / (2 * 1.5**2))
    assert_allclose(gram.gaussian(features @ features.T, n_train=60, bandwidth=1.5), expected, atol=1e-9)


def test_cka_is_one_for_the_same_features_rotated_scaled_and_moved(features, generator):
    rotation, _ = np.linalg.qr(generator.standard_normal((200, 200)))
    moved = 3 * features @ rotation + 1
    other = generator.standard_normal((80, 200))
    K, moved_K, other_K = features @ features.T, moved @ moved.T, other @ other.T
    assert_allclose(similarity.cka(K, K), 1)
    assert_allclose(similarity.cka(K, moved_K), 1, rtol=1e-8)
    assert_allclose(similarity.cka(K, other_K), similarity.cka(moved_K, other_K), atol=1e-8)
    assert abs(similarity.cka(K, other_K)) < 0.1
    assert np.isnan(similarity.cka(K[:3, :3], K[:3, :3]))


def test_sums_of_three_and_of_eight_networks_take_the_same_memory(tmp_path):
    """Gram matrices mapped from disk: three of them are in memory, whatever their number; one stack by place."""
    n = 256
    names = [tmp_path / f"{i}.npy" for i in range(8)]
    for i, name in enumerate(names):
        X = np.random.default_rng(i).standard_normal((n, 40))
        np.save(name, X @ X.T)
    peaks = {}
    for number in (3, 8):
        spec = frozen_networks.RowSpec([[np.load(name, mmap_mode="r")] * 2 for name in names[:number]])
        stacks = frozen_networks.RowSpec([[K for (K, _) in spec.kernels]], receptive_fields.ridge)
        for kind, sums in (("sum", spec), ("stack", stacks)):
            tracemalloc.start()
            frozen_networks.kernel(sums, SimpleNamespace(train=SimpleNamespace(images=range(n))))
            peaks[kind, number] = tracemalloc.get_traced_memory()[1] / (8 * n**2)
            tracemalloc.stop()
    assert peaks["sum", 8] < 4.5 and peaks["stack", 8] < 1.5  # in Gram matrices
    assert all(abs(peaks[kind, 8] - peaks[kind, 3]) < 0.1 for kind in ("sum", "stack"))


def test_a_greedy_sum_takes_what_helps_and_stops(generator):
    """Two networks carry half of the signal each, a third is noise: the better first, then the other."""
    parts = generator.standard_normal((3, 60, 3))
    responses = parts[0] * 2 + parts[1]
    kernels = {name: X @ X.T for name, X in zip(("strong", "weak", "noise"), parts, strict=True)}
    folds = [(np.setdiff1d(np.arange(60), held), held) for held in np.array_split(np.arange(60), 5)]

    def score(responses, predicted):
        return 1 - ((responses - predicted) ** 2).sum() / ((responses - responses.mean(0)) ** 2).sum()

    assert regression.greedy_sum(kernels, responses, folds, score=score) == ["strong", "weak"]
