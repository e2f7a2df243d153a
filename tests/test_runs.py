"""Finished runs: found again, and made again when anything that matters changed; the best model's choice and file."""

import os
import re
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from kill import SERVER
from torch.nn.functional import adaptive_avg_pool2d

from helpers import cache, datasets, models, progress
from helpers.analyses import best_model, frozen_networks, layer_profile, tables
from helpers.datasets.images import resized, to_batch
from helpers.experiments import profiles, runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0
from helpers.readout import features, gram

TINY = profiles.PROFILES["tiny"]


def made(capsys):
    """Whether anything was trained since the last call."""
    return re.search("epochs? in", capsys.readouterr().out) is not None


def test_same_seed_same_numbers(tiny, tmp_path, short_rows, monkeypatch):
    found = []
    for folder in ("first", "second"):
        monkeypatch.setenv("IT_RUNS", str(tmp_path / folder))
        found.append(runs.run(EXPERIMENTS["lite0-bi-objective-repaired"], tiny, TINY, seed=3))
    assert np.array_equal(found[0].val, found[1].val) and np.array_equal(found[0].test, found[1].test)
    assert found[0].history[-1]["label_loss"] == found[1].history[-1]["label_loss"]
    other = runs.run(EXPERIMENTS["lite0-bi-objective-repaired"], tiny, TINY, seed=4)
    assert not np.array_equal(found[0].val, other.val)


def test_a_run_is_found_again_until_something_that_matters_changes(tiny, runs_folder, capsys, monkeypatch):
    shallow = EXPERIMENTS["shallow-published"]
    first = runs.run(shallow, tiny, TINY)
    assert made(capsys)
    again = runs.run(shallow, tiny, TINY)
    assert not made(capsys) and np.array_equal(first.val, again.val)

    runs.run(replace(shallow, recipe=replace(shallow.recipe, learning_rate=2e-3)), tiny, TINY)
    assert made(capsys)
    responses = tiny.train.responses.copy()
    responses[0, 0] += 1e-3
    changed = replace(tiny, train=replace(tiny.train, responses=responses), fingerprint="another")
    runs.run(shallow, changed, TINY)
    assert made(capsys)
    monkeypatch.setattr(cache, "code_hash", lambda *_: "another")
    runs.run(shallow, tiny, TINY)
    assert made(capsys)


def test_any_changed_response_or_pixel_changes_the_fingerprint(tiny, tiny_file, tmp_path):
    h5py = pytest.importorskip("h5py")
    for key in ("spikes_train", "spikes_val", "stimulus_test", "object_train"):
        path = tmp_path / f"{key}.h5"
        path.write_bytes(tiny_file.read_bytes())
        with h5py.File(path, "r+") as file:
            data = file[key]
            other = next(i for i in range(1, len(data)) if not np.array_equal(data[i], data[0]))
            data[0], data[other] = data[other], data[0]
        assert datasets.load(path).fingerprint != tiny.fingerprint
    path = tmp_path / "copy.h5"
    path.write_bytes(tiny_file.read_bytes())
    assert datasets.load(path).fingerprint == tiny.fingerprint


def test_a_damaged_result_is_set_aside_and_made_again(tiny, runs_folder, capsys):
    first = runs.run(EXPERIMENTS["shallow-published"], tiny, TINY)
    (first.folder / "predictions.npz").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="damaged"):
        again = runs.run(EXPERIMENTS["shallow-published"], tiny, TINY)
    assert np.array_equal(first.val, again.val)
    assert (first.folder / "predictions.npz.damaged").exists()


def pixel_readout(dataset, profile):
    """The one readout that needs no network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen_networks, "specs", lambda *_: {"pixels": frozen_networks.RowSpec(None)})
        return frozen_networks.rows(dataset, profile)["pixels"]


def interrupted(save):
    """What saves half of a file, and then is interrupted as by Ctrl-C or a notebook's stop button."""

    def save_half(file, *arrays, **named):
        save(file, *arrays, **named)
        file.truncate(file.tell() // 2)
        signal.raise_signal(signal.SIGINT)

    return save_half


@pytest.mark.parametrize(
    ("saves", "make"),
    [
        ("savez", lambda tiny: runs.run(EXPERIMENTS["shallow-published"], tiny, TINY).val),
        ("save", lambda tiny: layer_profile.kernels(LITE0, tiny, TINY)[0]["blocks.3.2"]),
        ("savez", lambda tiny: pixel_readout(tiny, TINY).held_out),
    ],
    ids=["run", "Gram matrices", "readouts"],
)
def test_an_interrupt_while_a_result_is_written_leaves_the_cache_usable(
    saves, make, tiny, runs_folder, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(np, saves, interrupted(getattr(np, saves)))
        with pytest.raises(KeyboardInterrupt):
            make(tiny)
    kind = {"savez": "npz", "save": "npy"}[saves]
    assert not list(runs_folder.rglob(f"*.{kind}*"))  # no half file, under its name or another
    again = make(tiny)
    monkeypatch.setenv("IT_RUNS", str(tmp_path / "never-interrupted"))
    assert np.array_equal(again, make(tiny))


def make_and_be_killed(tiny_file, folder):
    """Make Gram matrices in this process, which is killed when the second of two is half written."""
    os.environ["IT_RUNS"] = str(folder)
    save = np.save

    def killed(file, array):
        save(file, array)
        if "3.2" in file.name:
            file.truncate(file.tell() // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    np.save = killed
    layer_profile.kernels(LITE0, datasets.load(tiny_file), TINY)


def test_a_process_killed_while_it_writes_gram_matrices_leaves_the_cache_usable(
    tiny, tiny_file, runs_folder, tmp_path, monkeypatch
):
    process = SERVER.Process(target=make_and_be_killed, args=(tiny_file, runs_folder))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in runs_folder.rglob("*.npy")] == ["00-blocks.1.1.npy"]
    again, _ = layer_profile.kernels(LITE0, tiny, TINY)
    monkeypatch.setenv("IT_RUNS", str(tmp_path / "never-killed"))
    expected, _ = layer_profile.kernels(LITE0, tiny, TINY)
    assert all(np.array_equal(again[layer], expected[layer]) for layer in expected)


def test_a_zoomed_sum_is_that_of_enlarged_images_through_the_last_four_stages(tiny, kept_runs):
    tag, ends = LITE0, ["blocks.3.2", "blocks.4.2", "blocks.5.3", "blocks.6.0"]
    found = layer_profile.block_sum(tag, tiny, profiles.PROFILES["quick"], zoomed=True)
    network, _ = models.load_backbone(tag, (48, 48))
    larger = resized(tiny.images, np.arange(len(tiny.images)), (48, 48))
    own, n_train = models.own_normalisation(tag), len(tiny.train.images)
    grams = features.gram_of_layers(features.View(network, ends, own), larger, n_train=n_train)
    expected = sum(K / np.diag(K)[:n_train].mean() for K in grams.values())
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()  # bytes are rounded


def side_by_side(groups, n_train):
    """Features (n_images, n_features) of each group, centred and brought to a mean squared norm of 1, and joined."""
    centred = [features - features[:n_train].mean(0) for features in groups]
    return np.hstack([each / np.sqrt(np.square(each[:n_train]).sum(1).mean()) for each in centred])


def test_a_summed_gram_matrix_is_that_of_all_features_side_by_side(tiny, kept_runs):
    tag, names = LITE0, ["blocks.1.1", "blocks.3.2"]
    network, _ = models.load_backbone(tag, (32, 32))
    features = []
    with torch.no_grad():
        for name in names:
            keep = network.get_submodule(name).register_forward_hook(lambda *call: features.append(call[2]))
            network.eval()(to_batch(torch.from_numpy(tiny.images), models.own_normalisation(tag)))
            keep.remove()
    pooled = [adaptive_avg_pool2d(maps, [min(7, side) for side in maps.shape[2:]]).flatten(1) for maps in features]
    X = side_by_side([maps.double().numpy() for maps in pooled], len(tiny.train.images))
    np.testing.assert_allclose(layer_profile.block_sum(tag, tiny, TINY), X @ X.T, atol=1e-4)


def test_groups_of_gram_matrices_count_the_same_however_many_there_are(tiny):
    generator, n_train = np.random.default_rng(0), len(tiny.train.images)
    one, two, three = (generator.standard_normal((len(tiny.images), width)) * width for width in (3, 5, 7))
    grams = [features @ features.T for features in (one, two, three)]
    spec = frozen_networks.RowSpec([[gram.centre(K, n_train) for K in grams[:2]], [gram.centre(grams[2], n_train)]])
    X = side_by_side([side_by_side([one, two], n_train), three], n_train)
    np.testing.assert_allclose(frozen_networks.kernel(spec, tiny), X @ X.T, atol=1e-9)


def test_choices_do_not_depend_on_val(tiny, kept_runs, tmp_path):
    """Permuting the responses to val images changes neither the best model nor any setting of it."""
    permuted = np.random.default_rng(0).permutation(len(tiny.val.responses))
    blind = replace(tiny, val=replace(tiny.val, responses=tiny.val.responses[permuted]), fingerprint="permuted")
    rankings, settings = [], []
    for name, dataset in (("true", tiny), ("permuted", blind)):
        found, held_out = best_model.candidates(dataset, TINY)
        rankings.append(best_model.choose(found, dataset.train.responses[held_out]))
        chosen = next(
            name for name, c in found.items() if c.runs and c.readout and c.readout.endswith(frozen_networks.LOCATED)
        )
        readout, _ = best_model.fit(chosen, found[chosen], dataset, TINY).parts
        settings.append({name: values.tolist() for name, values in readout.arrays.items()})
    assert rankings[0] == rankings[1]
    assert settings[0] == settings[1]


def test_fine_tuned_networks_are_candidates_together_unless_they_diverged(tiny, monkeypatch):
    """Parts of a mean count the same; a network that diverged on the fold, or on all images, takes no part."""
    _, index = datasets.fold_of(tiny, best_model.FOLD)
    generator, n_train = np.random.default_rng(0), len(tiny.train.images)
    names = ["lite0-repaired", "lite1-repaired", "lite2-repaired", "resnet50-repaired"]
    located = {name: generator.standard_normal((len(index), tiny.n_neurons)) for name in names}
    frozen = frozen_networks.Row(generator.standard_normal((n_train, tiny.n_neurons)), None, None)

    def run_of(diverged):
        return SimpleNamespace(info={"diverged": diverged}, held_out=np.zeros((len(index), tiny.n_neurons)))

    folded = {name: [run_of(name == "lite2-repaired")] for name in names}
    monkeypatch.setattr(frozen_networks, "rows", lambda *_: {"readout": frozen})
    monkeypatch.setattr(frozen_networks, "tuned_held_out", lambda experiment, *_: located[experiment.name])
    monkeypatch.setattr(runs, "run_all", lambda *_, **__: folded)
    monkeypatch.setattr(runs, "find_all", lambda experiment, *_: [run_of(experiment.name == "resnet50-repaired")])
    found, _ = best_model.candidates(tiny, TINY, tuned=[])
    together = found["mean of lite0-repaired + lite1-repaired, located and readout"]
    parts = [frozen.held_out[index], located["lite0-repaired"], located["lite1-repaired"]]
    np.testing.assert_allclose(together.held_out, np.mean(parts, axis=0))
    assert together.runs == ("lite0-repaired", "lite1-repaired") and together.readout == "readout"
    assert not any("lite2" in name or "resnet50" in name for name in found)


def test_a_diverged_run_is_scored_as_a_constant_and_says_so(tiny, runs_folder):
    shallow = EXPERIMENTS["shallow-published"]
    wild = replace(shallow, recipe=replace(shallow.recipe, learning_rate=1e30))
    done = {wild.name: [runs.run(wild, tiny, TINY)]}
    table = tables.results_table([wild], done, tiny)
    assert table["state"][0] == "run; diverged, scored as a constant"
    assert abs(table["explained_variance"][0]) < 1e-12
    assert np.isnan(runs.run(wild, tiny, TINY, held_out_fold=0).history[-1]["held_out_explained_variance"])


@pytest.mark.parametrize("name", ["quick", "colab", "full"])
def test_profiles_give_every_row_its_images_and_leave_its_recipe_alone(tiny, name):
    """Both recipes of a row see images of one size and number, and nothing in a profile changes an experiment."""
    profile = profiles.PROFILES[name]
    dataset = profile.prepare(tiny)
    for experiment in EXPERIMENTS.values():
        if twin := EXPERIMENTS.get(experiment.name.replace("-repaired", "-published")):
            seen, other = (profile.training_data(e, dataset) for e in (experiment, twin))
            assert seen.images.shape == other.images.shape and len(seen.train.images) == len(dataset.train.images)
    assert set(profile.seeds or ()) <= set(EXPERIMENTS)


def test_a_row_runs_all_epochs_of_its_recipe_or_is_left_out_with_its_command(tiny, runs_folder, capsys):
    inside, outside = EXPERIMENTS["deeper-published"], EXPERIMENTS["shallow-applied"]
    done = runs.run_all([inside, outside], tiny, TINY)
    (finished,) = done["deeper-published"]
    assert finished.info["epochs"] == finished.info["recipe_epochs"] == inside.recipe.epochs == 20
    assert outside.name not in done
    said = capsys.readouterr().out
    assert f"python -m helpers run {outside.name} --seed 0" in said
    assert "1 run, 1 to train whole; the time left of each is measured from its first epoch on\n" in said
    runs.run(outside, tiny, TINY)  # by its command; found from then on
    assert len(runs.run_all([inside, outside], tiny, TINY)[outside.name]) == 1
    assert "2 runs, all kept from before\n" in capsys.readouterr().out


@pytest.mark.parametrize(("done", "left"), [(1, "<30:0"), (6, "<13:2")])
def test_the_time_left_is_measured_from_the_first_epoch(done, left):
    with progress.bar("a row", 10) as bar:
        bar.start_t -= 3600  # its weights came slowly
        progress.advance(bar, done, 200)
        assert left in str(bar)


def test_a_row_that_fails_is_named_before_anything_trains_and_the_others_go_on(tiny, runs_folder, capsys, monkeypatch):
    shallow, lite0 = EXPERIMENTS["shallow-published"], EXPERIMENTS["lite0-repaired"]
    typing_error = replace(lite0, name="own-row", backbone="resnet5O.tv_in1k")
    out_of_memory = replace(shallow, name="large-row")
    run = runs.run

    def runs_out(experiment, *rest, **options):
        if experiment is out_of_memory:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        return run(experiment, *rest, **options)

    monkeypatch.setattr(runs, "run", runs_out)
    done = runs.run_all([typing_error, out_of_memory, shallow], tiny, TINY, seeds=1)
    said = capsys.readouterr().out
    assert list(done) == [shallow.name]
    assert said.index("own-row (resnet5O.tv_in1k) failed") < said.index("large-row (shallow CNN) failed")
    assert "timm has no network of this name" in said and "CUDA out of memory." in said and "Tried" not in said
