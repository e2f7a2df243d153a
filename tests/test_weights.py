"""Weights: every tensor comes from the file that is named, or one sentence says which does not; the hub, its cache."""

import contextlib
import http.server
import threading

import huggingface_hub
import pytest
import timm
import torch

from helpers.models import weights

TAG = "resnet10t.c3_in1k"
SIZE = (32, 32)


@pytest.fixture
def state():
    torch.manual_seed(1)
    return timm.create_model(TAG, pretrained=False).state_dict()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IT_WEIGHTS", str(tmp_path))
    return tmp_path


def below(prefix):
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


WRAPPED = {
    "plain": dict,
    "module.": below("module."),
    "model.": below("model."),
    "backbone., beside a head": lambda state: {"gain": torch.ones(3)} | below("backbone.")(state),
    "state_dict": lambda state: {"state_dict": below("module.")(state), "epoch": 3},
    "model": lambda state: {"model": state, "optimizer": {}},
    "a state_dict in a model": lambda state: {"model": {"state_dict": below("_orig_mod.")(state)}},
    "teacher": lambda state: {"student": below("module.backbone.")(state), "teacher": below("backbone.")(state)},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_every_tensor_comes_from_the_file_however_it_is_wrapped(name, state, folder):
    torch.save(WRAPPED[name](state), folder / f"{TAG}.pth")
    backbone, source = weights.load_backbone(TAG, SIZE, seed=2)
    assert source == f"file {TAG}.pth (ImageNet)"
    assert all(torch.equal(tensor, state[key]) for key, tensor in backbone.state_dict().items())


def without(state, part):
    return {name: tensor for name, tensor in state.items() if not name.startswith(part)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: without(state, "layer3"), r"tensor layer3.0.conv1.weight is not there"),
        (lambda state: {f"a.{i}": tensor for i, tensor in enumerate(state.values())}, "tensor conv1.0.weight is not"),
        (lambda state: state | {"conv1.0.weight": torch.zeros(1, 2)}, r"has shape \(1, 2\); expected \(24, 3, 3, 3\)"),
        (lambda state: state | {"conv1.0.weight": state["conv1.0.weight"] / 0}, "other than finite"),
        (lambda state: {name: tensor.to(torch.int8) for name, tensor in state.items()}, "other than finite"),
        (lambda state: [1, 2], "holds a list; expected tensors by name"),
        (lambda state: object, "cannot be read as weights .pickled objects, which are not loaded."),
    ],
)
def test_a_file_that_lacks_a_tensor_is_named_with_it(change, says, state, folder):
    torch.save(change(state), folder / f"{TAG}.pth")
    with pytest.raises(ValueError, match=rf"{TAG}.pth.*{says}") as error:
        weights.load_backbone(TAG, SIZE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("vit_base_patch16_clip_224.openai", "CLIP"),
        ("vit_base_patch16_clip_224.openai_ft_in1k", "CLIP, ImageNet"),
        ("vit_small_patch14_dinov2.lvd142m", "DINOv2"),
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "ImageNet-21k, ImageNet"),
        ("convnext_tiny.fb_in22k", "ImageNet-22k"),
        ("resnet50.tv_in1k", "ImageNet"),
        ("vit_small_patch16_224.dino", "DINO"),
        ("resnet50.own", "own"),
        ("resnet50", "unknown"),
    ],
)
def test_the_label_says_what_weights_were_trained_on(tag, words):
    assert weights.training_of(tag) == words


def test_a_network_that_timm_does_not_have_is_named():
    with pytest.raises(ValueError, match="^resnet5O.tv_in1k: timm has no network of this name"):
        weights.load_backbone("resnet5O.tv_in1k", SIZE)


def test_weights_in_the_hubs_cache_need_no_network(state, tmp_path, monkeypatch):
    torch.save(state, tmp_path / "cached.pth")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda **_: str(tmp_path / "cached.pth"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda **_: pytest.fail("not needed"))
    monkeypatch.setattr(weights, "hub_reachable", lambda: pytest.fail("not needed"))
    backbone, source = weights.load_backbone(TAG, SIZE)
    assert source == f"hub {TAG} (ImageNet)"
    assert torch.equal(backbone.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


def test_a_failed_download_names_the_tag_and_what_to_do(monkeypatch):
    def fails(**_):
        raise RuntimeError("403\nand more")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda **_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    monkeypatch.setattr(weights, "hub_reachable", lambda: True)
    with pytest.raises(OSError, match=rf"{TAG}: its weights cannot be downloaded .*403.*IT_WEIGHTS.*HF_HUB_OFFLINE=1"):
        weights.load_backbone(TAG, SIZE)


@contextlib.contextmanager
def served():
    """A server on this machine that answers every request with 404, as a mirror or a proxy; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_probe_asks_the_users_endpoint_through_the_users_proxy(monkeypatch):
    probe = weights.hub_reachable.__wrapped__
    for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with served() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert probe()
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
        assert not probe()
        monkeypatch.setenv("http_proxy", url)
        assert probe()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not probe()
