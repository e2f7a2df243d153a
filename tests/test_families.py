"""Every family of timm's, small and from random weights: frozen, and one training step by both recipes."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from helpers import models
from helpers.datasets.images import IMAGENET
from helpers.experiments.networks_and_recipes import ADAM, _backbone
from helpers.models import architecture, backbones
from helpers.readout import features, gram_by_place
from helpers.training import loop
from helpers.training.recipe import CONSTANT

SMALL = {"depth": 4, "embed_dim": 48, "num_heads": 2}
# Family -> its name, arguments that make it small, layers, and the side that images of 64 pixels are brought to.
FAMILIES = {
    "resnet": ("resnet18", {}, 9, 64),
    "densenet": ("densenet121", {"block_config": (2, 2, 2, 2)}, 4, 64),
    "convnext": ("convnext_atto", {}, 12, 64),
    "swin": ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1), "embed_dim": 24}, 4, 64),
    "vit": ("vit_tiny_patch16_224", SMALL, 4, 64),
    "dinov2 with registers": ("vit_small_patch14_reg4_dinov2", SMALL, 4, 70),  # multiples of its patch
    "beit": ("beit_base_patch16_224", SMALL, 4, 64),
    "deit": ("deit_tiny_distilled_patch16_224", SMALL, 4, 64),
    "mixer": ("mixer_s32_224", {"mlp_ratio": (0.5, 0.5)}, 8, 224),  # weights are those of its own size
    "regnet": ("regnetx_002", {}, 13, 64),
    "mobilenetv4": ("mobilenetv4_conv_small_050", {}, 17, 64),
    "levit": ("levit_128s", {"depth": (1, 1, 1)}, 3, 224),
    "inception": ("inception_v3", {}, 5, 96),  # vanishes at 64
    "efficientnet": ("efficientnet_b0", {}, 16, 64),
    "hiera": ("hiera_tiny_224", {"stages": (1, 1, 1, 1), "embed_dim": 24}, 4, 224),
}


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 1, 64, 64), dtype=np.uint8)
    responses = rng.standard_normal((8, 5)).astype(np.float32)
    train = SimpleNamespace(images=images, responses=responses, objects=np.array(["a", "b"] * 4))
    return SimpleNamespace(images=images, train=train, object_names=["a", "b"], n_neurons=5)


def timms_own(network, images, grid):
    """Gram matrix of the last stage's maps as timm has them: without class tokens and registers, channels first."""
    shown = models.at_pixels(features.to_batch(torch.from_numpy(images), IMAGENET), network.input_pixels)
    with torch.no_grad():
        (maps,) = network.eval().forward_intermediates(shown, indices=1, intermediates_only=True)
    X = features.to_grid(maps, grid).flatten(1).double().numpy()
    X -= X.mean(0)
    return X @ X.T


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_works_frozen_and_by_both_recipes(family, dataset, monkeypatch):
    tag, arguments, n_layers, side = FAMILIES[family]
    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, **arguments))
    monkeypatch.setattr(backbones, "_fixed_size", backbones._fixed_size.__wrapped__)
    network, _ = models.load_backbone(tag, (64, 64), pretrained=False)
    assert network.input_pixels == (side, side)
    layers = architecture.default_layers(network)
    view = features.View(network, layers, IMAGENET, network.input_pixels, grid=2, blur=0.1)
    grams = features.gram_of_layers(view, dataset.images, n_train=8)
    assert list(grams) == layers and len(layers) == n_layers
    if family != "densenet":  # whose last stage is a norm after its last block
        K = timms_own(network, dataset.images, grid=2)
        np.testing.assert_allclose(grams[layers[-1]], K, atol=1e-4 * np.abs(K).max())
    for layer, K in grams.items():
        assert np.isfinite(K).all() and K.trace() > 0, layer
    places = np.zeros((4, 8, 8), np.float32)
    gram_by_place.grams_by_place(view, dataset.images, n_train=8, out=places)
    assert np.isfinite(places).all()  # every layer without a batch norm at its end counts as much as any
    for experiment in _backbone("any", family, tag, ADAM, pretrained=False, label_weight=1.0):
        model, _ = experiment.build(dataset, 0)
        recipe = replace(experiment.recipe, epochs=1, batch_size=8, schedule=CONSTANT)
        before = {name: p.clone() for name, p in model.features.backbone.named_parameters()}
        history = loop.fit(model, dataset, recipe, seed=0, normalisation=IMAGENET, label_weight=1.0)
        assert np.isfinite(history[0]["neural_loss"]) and np.isfinite(history[0]["label_loss"])
        assert any(not torch.equal(p, before[name]) for name, p in model.features.backbone.named_parameters())
        assert np.isfinite(loop.predict(model, dataset.images, IMAGENET)[0]).all()


@pytest.mark.parametrize(
    "tag, closest", [("convnext_bsae.fb_in1k", "convnext_base"), ("resnet50.tv_in1", "resnet50.tv_in1k")]
)
@pytest.mark.parametrize("pretrained", [True, False])
def test_a_misspelt_tag_is_one_sentence_with_the_closest_names(tag, closest, pretrained):
    with pytest.raises(ValueError, match=rf"^{tag}: timm has no .* expected .*{closest}.*\.$") as error:
        models.load_backbone(tag, (64, 64), pretrained=pretrained)
    assert "\n" not in str(error.value)
