"""The training loop against a loop written out by hand, killed processes, and several processes."""

import contextlib
import functools
import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from kill import ROWS, begin, identical, kill_until_done, predictions_in, whole
from sklearn.linear_model import Ridge

from helpers import cache, datasets, device, models
from helpers.cache import ROOT
from helpers.datasets.images import IMAGENET, IMAGENET_MEAN, IMAGENET_SD
from helpers.experiments.networks_and_recipes import (
    ADAM,
    CNN,
    EXPERIMENTS,
    LITE0,
    SHALLOW,
    VIT,
    VIT_TINY,
    published_rows,
)
from helpers.readout import regression
from helpers.training import checkpoint, loop
from helpers.training.recipe import CONSTANT, Step
from helpers.training.ridge_heads import RidgeHeads, set_batch_norm
from helpers.training.step import batches, make_optimiser, scaling_of


def test_published_recipe_is_the_students_loop(tiny):
    """Adam 1e-3, StepLR, clipping at 1.0, plain mean squared error: written out with torch's own parts."""
    recipe = replace(ADAM, epochs=3, schedule=Step(2, 0.1), weight_decay=1e-5)
    torch.manual_seed(0)
    model = models.ShallowCNN((32, 32), tiny.n_neurons, dropout_applied=False)
    by_hand = models.ShallowCNN((32, 32), tiny.n_neurons, dropout_applied=False)
    by_hand.load_state_dict(model.state_dict())
    twice = IMAGENET.twice()
    loop.fit(model, tiny, recipe, seed=5, normalisation=twice)

    once = tiny.train.images.astype(np.float64) / 255
    mean, sd = (np.array(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_SD))
    images = torch.from_numpy((((once - mean) / sd - mean) / sd).astype(np.float32))
    responses = torch.from_numpy(tiny.train.responses)
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=1e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 2, 0.1)
    for epoch in range(3):
        order = np.random.default_rng([5, epoch]).permutation(len(images))
        for start in range(0, len(images), 32):
            batch = order[start : start + 32]
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(by_hand(images[batch])[0], responses[batch]).backward()
            torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
            optimiser.step()
        schedule.step()
    for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)


def test_every_stage_1_to_3_row_is_declared_as_published():
    """Epochs, rate, optimiser, weight decay, label weight and weights of the published table, row by row."""
    rows = {name: row for name, row in published_rows().items() if row["stage"] in "123"}
    published = {e.row: e for e in EXPERIMENTS.values() if e.row in rows and e.name.endswith("-published")}
    repaired = {e.row: e for e in EXPERIMENTS.values() if e.row in rows and e.repaired}
    assert set(published) == set(repaired) == set(rows)
    for name, row in rows.items():
        experiment = published[name]
        assert experiment.stage == int(row["stage"])
        assert experiment.recipe.epochs == int(row["epochs"])
        assert experiment.recipe.learning_rate == float(row["learning_rate"])
        assert experiment.recipe.optimiser.__name__ == row["optimiser"]
        assert experiment.recipe.weight_decay == float(row["weight_decay"])
        assert experiment.label_weight == (float(row["label_weight"]) if row["label_weight"] else None)
        assert experiment.pretrained == (row["weights"] != "random")
        assert experiment.inputs.value in (
            "ImageNet, twice" if row["input_normalisation"] == "twice" else "training images' statistics"
        )
        assert not (experiment.stage == 1 and experiment.dropout_applied)
        assert repaired[name].inputs.value != "ImageNet, twice"
        if "StepLR" in row["schedule"]:
            every, factor = row["schedule"].removeprefix("StepLR(").rstrip(")").split(";")
            assert experiment.recipe.schedule == Step(int(every), float(factor))


def test_standardised_losses_are_1_for_a_constant_prediction(tiny):
    """With zero heads and no learning, neural loss and label loss per unit weight both are 1."""
    torch.manual_seed(0)
    backbone, _ = models.load_backbone(LITE0, (32, 32), pretrained=False)
    model = models.Encoder(backbone, (32, 32), tiny.n_neurons, len(tiny.object_names))
    for head in (model.neuron_head, model.object_head):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    shares = np.unique(tiny.train.objects, return_counts=True)[1] / len(tiny.train.objects)
    model.object_head.bias.data = torch.from_numpy(np.log(shares)).float()
    still = replace(SHALLOW, epochs=1, learning_rate=1e-12)
    history = loop.fit(model, tiny, still, seed=0, normalisation=IMAGENET, label_weight=0.3)
    assert history[0]["neural_loss"] == pytest.approx(1, abs=1e-4)
    assert history[0]["label_loss"] == pytest.approx(1, abs=1e-4)
    predicted, _ = loop.predict(model, tiny.val.images, IMAGENET)
    np.testing.assert_allclose(predicted, np.tile(tiny.train.responses.mean(0), (len(predicted), 1)), atol=1e-5)


def test_rates_of_heads_and_backbone_are_what_the_recipe_says():
    """Rates after the warm-up: heads the recipe's, one layer_decay per block down to the stem."""
    recipe = replace(VIT, schedule=CONSTANT, learning_rate=1e-3, layer_decay=0.8)
    backbone, _ = models.load_backbone(VIT_TINY, (32, 32), pretrained=False)
    model = models.Encoder(backbone, (32, 32), 5, 3)
    optimiser = make_optimiser(model, recipe, pretrained=True)
    recipe.schedule.scheduler(optimiser, 10, 5).step_update(0)
    rate = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert rate[id(model.neuron_head.weight)] == rate[id(model.object_head.weight)] == pytest.approx(1e-3)
    blocks = [rate[id(block.attn.qkv.weight)] for block in backbone.blocks]
    np.testing.assert_allclose(np.divide(blocks[:-1], blocks[1:]), 0.8)
    assert 1e-3 * 0.8 <= blocks[-1] <= 1e-3
    assert {id(p) for p in model.parameters()} == set(rate)


@pytest.mark.parametrize(
    "optimiser",
    [
        torch.optim.RMSprop,
        functools.partial(torch.optim.SGD, momentum=0.9),
        functools.partial(torch.optim.AdamW, foreach=True),
    ],
)
def test_a_recipe_takes_any_optimiser_and_its_options(tiny, optimiser):
    recipe = replace(ADAM, optimiser=optimiser, epochs=1)
    model = models.ShallowCNN(tiny.images.shape[2:], tiny.n_neurons)
    history = loop.fit(model, tiny, recipe, seed=0, normalisation=IMAGENET)
    assert np.isfinite(history[0]["neural_loss"])
    made = make_optimiser(model, recipe, pretrained=False)
    assert getattr(optimiser, "keywords", {}).items() <= made.defaults.items()
    assert cache.digest({"recipe": recipe}) not in (
        cache.digest({"recipe": r}) for r in (ADAM, replace(recipe, optimiser=torch.optim.SGD))
    )


@pytest.mark.parametrize(("positional", "named"), [((), {"lr": 0.5}), ((0.5,), {})])
def test_an_optimiser_brings_no_rate_or_decay_of_its_own(tiny, positional, named):
    recipe = replace(ADAM, optimiser=functools.partial(torch.optim.SGD, *positional, **named))
    with pytest.raises(ValueError, match="in the optimiser's options"):
        make_optimiser(models.ShallowCNN(tiny.images.shape[2:], tiny.n_neurons), recipe, pretrained=False)


@pytest.mark.parametrize(("recipe", "n_groups"), [(CNN, 2), (replace(CNN, layer_decay=0.75), 34), (ADAM, 1)])
def test_groups_of_equal_rate_and_decay_are_merged_bit_for_bit(tiny, monkeypatch, recipe, n_groups):
    """The same training with a group for every parameter of its own ends in the same bits."""

    def unmerged(*arguments):
        optimiser = make_optimiser(*arguments)
        assert len(optimiser.param_groups) == n_groups
        kept = ("lr_scale", "weight_decay")
        groups = [
            {"params": [p]} | {key: group[key] for key in kept}
            for group in optimiser.param_groups
            for p in group["params"]
        ]
        return arguments[1].optimiser(groups, lr=arguments[1].learning_rate, fused=True)

    trained = []
    for make in (make_optimiser, unmerged):
        monkeypatch.setattr(loop, "make_optimiser", make)
        backbone, _ = models.load_backbone(LITE0, (32, 32))
        torch.manual_seed(0)
        model = models.Encoder(backbone, (32, 32), tiny.n_neurons, len(tiny.object_names))
        arguments = {"seed": 0, "normalisation": IMAGENET, "pretrained": True, "label_weight": 1.0}
        loop.fit(model, tiny, replace(recipe, epochs=1, ridge_heads=0), **arguments)
        trained.append(model.state_dict())
    assert all(torch.equal(tensor, trained[1][name]) for name, tensor in trained[0].items())


@pytest.mark.parametrize("name", ["densenet201", "pnasnet5large"])
def test_rates_of_published_rows_that_stepped_swalr_are_torchs(name):
    """Their notebooks stepped torch's SWALR on the same optimiser from the sixth epoch on."""
    recipe = EXPERIMENTS[f"{name}-published"].recipe
    ours = torch.optim.SGD([torch.zeros(1)], lr=recipe.learning_rate)
    scheduler = recipe.schedule.scheduler(ours, recipe.epochs * 7, 7)
    theirs = torch.optim.SGD([torch.zeros(1)], lr=recipe.learning_rate)
    warmup = torch.optim.lr_scheduler.LinearLR(theirs, 0.1, total_iters=2)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 13)
    own = torch.optim.lr_scheduler.SequentialLR(theirs, [warmup, cosine], milestones=[2])
    if name == "pnasnet5large":
        theirs.param_groups[0]["lr"] = recipe.learning_rate
    averaging, rates = torch.optim.swa_utils.SWALR(theirs, swa_lr=1e-4), []
    for epoch in range(recipe.epochs):
        scheduler.step_update(epoch * 7 + 6)
        rates.append((ours.param_groups[0]["lr"], theirs.param_groups[0]["lr"]))
        theirs.step()
        if name == "densenet201":
            own.step()
        if epoch >= 5:
            averaging.step()
    np.testing.assert_allclose(*zip(*rates, strict=True), rtol=2e-3)


def cross_fitted(tiny, *, altered=None, n_heads=5):
    """Ridge heads on a small random backbone's features, those features and their widths; one image may be altered."""
    torch.manual_seed(0)
    backbone, _ = models.load_backbone(LITE0, (32, 32), pretrained=False)
    model = models.Encoder(backbone, (32, 32), tiny.n_neurons, len(tiny.object_names), stages=(1, 2), grid=4)
    images, responses = torch.from_numpy(tiny.train.images), torch.from_numpy(tiny.train.responses)
    set_batch_norm(model, images, IMAGENET)
    features = loop.extract(model, images, IMAGENET)
    mean, sd = loop.scale_of(responses)
    targets = (responses - mean) / sd
    if altered is not None:
        targets[altered] += 1e-3
    recipe = replace(CNN, ridge_heads=n_heads)
    heads = RidgeHeads(model, targets, tiny.train.objects, np.arange(len(images)), recipe, 1.0)
    heads.renew(features.clone())
    return heads, features, model.features.widths


def test_heads_are_scikit_learns_ridge_on_the_other_folds_and_on_all(tiny):
    """And each penalty is the one whose predictions of held-out images have the least squared error."""
    fitted, features, widths = cross_fitted(tiny)
    X, y = features.double().numpy(), fitted.targets.double().numpy()
    stages = np.split(X - X.mean(0), np.cumsum(widths)[:-1], axis=1)
    X = np.concatenate([stage / np.sqrt((stage**2).sum(1).mean()) for stage in stages], 1)
    scale = (X**2).sum(1).mean()
    folds = datasets.folds(tiny.train.objects, 5, seed=0)
    losses = np.zeros((len(regression.ALPHAS), y.shape[1]))
    for loss, alpha in zip(losses, regression.ALPHAS, strict=True):
        for fit, held_out in folds:
            predicted = Ridge(alpha=alpha * scale).fit(X[fit], y[fit]).predict(X[held_out])
            loss += ((predicted - y[held_out]) ** 2).sum(0)
    alpha = regression.ALPHAS[losses.argmin(0)]
    np.testing.assert_array_equal(fitted.alpha.numpy(), alpha)
    for head, fit in enumerate([*(fit for fit, _ in folds), np.arange(len(X))]):
        expected = Ridge(alpha=alpha * scale).fit(X[fit], y[fit]).predict(X)
        predicted = features @ fitted.weights[head].T + fitted.bias[head]
        np.testing.assert_allclose(predicted, expected, atol=2e-3 * y.std())


@pytest.mark.parametrize(("n_heads", "seen"), [(5, False), (1, True)])
def test_the_head_of_an_image_has_not_seen_it(tiny, n_heads, seen):
    """Its response, altered, leaves the head of its loss as it was; the single head of the ablation it does not."""
    image = 7
    before, _, _ = cross_fitted(tiny, n_heads=n_heads)
    after, _, _ = cross_fitted(tiny, altered=image, n_heads=n_heads)
    assert torch.equal(before.alpha, after.alpha)  # penalties alone are chosen with all images
    head = before.head_of[image]
    assert torch.equal(before.weights[head], after.weights[head]) != seen
    assert torch.equal(before.bias[head], after.bias[head]) != seen


def test_losses_through_ridge_heads_are_1_for_a_constant_prediction(tiny):
    heads, features, _ = cross_fitted(tiny)
    heads.weights.zero_()
    heads.bias[:] = heads.targets.mean(0)
    neural, label = heads.losses(features, torch.arange(len(features)))
    assert (neural.mean().item(), label.mean().item()) == pytest.approx((1, 1), abs=1e-4)


def test_fitting_ends_in_ridge_on_all_images(tiny):
    """On the features of the tuned backbone, in the file's units; objects as indicators of a mean variance of 1."""
    backbone, _ = models.load_backbone(LITE0, (32, 32))
    before = backbone.conv_stem.weight.clone()
    model = models.Encoder(backbone, (32, 32), tiny.n_neurons, len(tiny.object_names), stages=(2,), grid=4)
    recipe = replace(CNN, epochs=2, schedule=CONSTANT)
    loop.fit(model, tiny, recipe, seed=0, normalisation=IMAGENET, pretrained=True, label_weight=1.0)
    assert not torch.equal(backbone.conv_stem.weight, before)
    train, val = (
        loop.extract(model, torch.from_numpy(split.images), IMAGENET).double().numpy()
        for split in (tiny.train, tiny.val)
    )
    scale = ((train - train.mean(0)) ** 2).sum(1).mean()
    indicators = (tiny.train.objects[:, None] == np.array(tiny.object_names)).astype(float)
    indicators /= np.sqrt(indicators.var(0).mean())
    found = loop.predict(model, tiny.val.images, IMAGENET)
    for predicted, y in zip(found, (tiny.train.responses, indicators), strict=True):
        expected = np.array([Ridge(alpha=alpha * scale).fit(train, y).predict(val) for alpha in regression.ALPHAS])
        assert (np.abs(expected - predicted).max(1).min(0) < 3e-3 * y.std()).all()  # each at some penalty


def test_half_precision_trains_as_float32_does(tiny, monkeypatch):
    """The number types of GPUs and newer CPUs, which any CPU can imitate; float16 with its gradient scaling."""
    losses, predicted = {}, {}
    for used in (torch.float32, torch.bfloat16, torch.float16):
        monkeypatch.setattr(loop, "precision", lambda model, device, used=used: (used, torch.contiguous_format))
        torch.manual_seed(0)
        backbone, _ = models.load_backbone(LITE0, (32, 32))
        model = models.Encoder(backbone, (32, 32), tiny.n_neurons, len(tiny.object_names), stages=(1, 2))
        recipe = replace(CNN, epochs=2, schedule=CONSTANT)
        arguments = {"seed": 0, "normalisation": IMAGENET, "pretrained": True, "label_weight": 1.0}
        history = loop.fit(model, tiny, recipe, **arguments)
        losses[used] = [(epoch["neural_loss"], epoch["label_loss"]) for epoch in history]
        predicted[used], _ = loop.predict(model, tiny.val.images, IMAGENET)
    whole = predicted[torch.float32]
    for dtype in (torch.bfloat16, torch.float16):
        assert losses[dtype] != losses[torch.float32]
        assert losses[dtype][-1][0] < losses[dtype][0][0]
        np.testing.assert_allclose(losses[dtype], losses[torch.float32], rtol=0.02)
        assert (predicted[dtype] - whole).std() < 0.15 * whole.std()  # penalties go in steps of a factor of 3


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_steps_that_float16_skips_are_counted_and_most_skipped_are_no_result(tiny, monkeypatch, share):
    """Losses that overflow, as a device of float16 alone would give them, in a share of the steps."""
    monkeypatch.setattr(loop, "precision", lambda *_: (torch.float16, torch.contiguous_format))
    losses, seen = loop.TrainedHeads.losses, []

    def overflowing(self, output, batch):
        seen.append(batch)
        neural, label = losses(self, output, batch)
        return neural * (float("inf") if len(seen) % 10 < 10 * share else 1e-3), label

    monkeypatch.setattr(loop.TrainedHeads, "losses", overflowing)
    torch.manual_seed(0)
    model = models.ShallowCNN((32, 32), tiny.n_neurons)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if "neuron_head" not in name}
    recipe = replace(SHALLOW, epochs=2, batch_size=9)
    with pytest.warns(UserWarning) if share == 1 else contextlib.nullcontext() as warned:
        history = loop.fit(model, tiny, recipe, seed=0, normalisation=IMAGENET)
    n_skipped = {0: 0, 0.3: 8, 1: 22}[share]
    assert sum(epoch["n_steps"] for epoch in history) == 22 == len(seen)
    assert sum(epoch["n_skipped"] for epoch in history) == n_skipped
    assert history[-1]["loss_scale"] == 2.0 ** (16 - n_skipped)  # which nothing raises in so few steps
    if share < 1:
        expected = {"n_steps": 22, "n_skipped": n_skipped, "loss_scale": 2.0 ** (16 - n_skipped)}
        assert scaling_of(history) == expected
        return
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    assert str(warned[0].message) == "epoch 1: all steps were skipped, as gradients overflow float16 (loss scale 32)"
    with pytest.raises(ValueError, match=r"^22 of 22 steps were skipped, .*\(loss scale 0.016\); expected"):
        scaling_of(history)


@pytest.mark.parametrize(
    ("has_bfloat16", "tag", "expected"),
    [
        (True, LITE0, torch.bfloat16),
        (True, VIT_TINY, torch.bfloat16),
        (False, LITE0, torch.float32),
        (False, "pvt_v2_b0.in1k", torch.float32),
        (False, "resnet10t.c3_in1k", torch.float16),
        (False, VIT_TINY, torch.float16),
    ],
)
def test_depthwise_networks_train_in_float32_where_cuda_has_float16_alone(has_bfloat16, tag, expected, monkeypatch):
    """By imitation: no CUDA device is asked."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    backbone = timm.create_model(tag, pretrained=False, num_classes=0)
    model = models.Encoder(backbone, (224, 224) if "vit" in tag else (32, 32), 5)
    assert device.precision(model, torch.device("cuda"))[0] == expected


@pytest.mark.parametrize(("n_images", "recipe"), [(33, ADAM), (65, CNN)])
def test_one_image_left_over_is_no_batch(tiny, n_images, recipe):
    """Batch norm can learn nothing from one image whose last maps are one pixel: it joins the batch before."""
    backbone, _ = models.load_backbone(LITE0, (32, 32), pretrained=False)
    model = models.Encoder(backbone, (32, 32), tiny.n_neurons)
    arguments = {"seed": 0, "normalisation": IMAGENET, "fold": (np.arange(n_images), np.arange(n_images, 67))}
    score = {"held_out_score": lambda responses, predicted: 0.0}
    history = loop.fit(model, tiny, replace(recipe, epochs=1), **arguments, **score)
    assert np.isfinite(history[0]["neural_loss"])
    parts = batches(torch.arange(n_images), 32)
    assert [len(part) for part in parts] == {33: [33], 65: [32, 33]}[n_images]
    assert torch.equal(torch.cat(parts), torch.arange(n_images))


@pytest.fixture(scope="module")
def uninterrupted(tiny_file, tmp_path_factory):
    """Seconds and predictions of the run that kill.py kills."""
    return whole(tiny_file, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("name", ROWS)
def test_a_killed_run_ends_in_the_same_numbers(tiny_file, tmp_path, name):
    seconds, expected = whole(tiny_file, tmp_path / "whole", name)
    for share in (1, 0.5, 0.25):  # of the seconds: on a machine that got quicker since, a run may end unkilled
        kills = kill_until_done(tiny_file, tmp_path / f"{share}", share * seconds, 3, name)
        assert identical(predictions_in(tmp_path / f"{share}"), expected)
        if any(kill.epochs for kill in kills):
            break
    else:
        pytest.fail("no checkpoint was tested")
    assert not [*tmp_path.rglob("checkpoint.pt"), *tmp_path.rglob("*.damaged")]


def test_processes_asked_for_the_same_row_do_not_damage_each_other(tiny_file, tmp_path, uninterrupted):
    """Two begin at once, a third when they are half-way; their checkpoints and results go to the same folder."""
    seconds, expected = uninterrupted
    processes = [begin(tiny_file, tmp_path) for _ in range(2)]
    processes[0].join(timeout=seconds / 2)
    processes.append(begin(tiny_file, tmp_path))
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert identical(predictions_in(tmp_path), expected)
    (folder,) = tmp_path.glob("*/*/*")
    assert {path.name for path in folder.iterdir()} == {"predictions.npz", "result.json", "weights.safetensors"}


def test_a_damaged_checkpoint_is_set_aside(tmp_path):
    path = tmp_path / "checkpoint.pt"
    cache.write_whole(path, lambda path: torch.save({"history": [torch.zeros(1000)]}, path))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoint.load(path) is None
    assert not path.exists() and (tmp_path / "checkpoint.pt.damaged").exists()


def test_each_variant_of_the_ablation_is_the_repaired_recipe_but_for_its_part(
    tiny_file, runs_folder, short_rows, monkeypatch
):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import recipes

    for network, parts in recipes.PARTS.items():
        found = recipes.variants(network)
        repaired = found.pop("repaired")
        found.pop("published")
        for words, variant in found.items():
            fields = [vars(repaired), vars(variant)], [vars(repaired.recipe), vars(variant.recipe)]
            changed = {key for a, b in fields for key in a if a[key] != b[key]} - {"name", "recipe"}
            assert words not in parts or changed == set(parts[words])

    table = runs_folder.parent / "recipes.csv"
    options = ["--data", str(tiny_file), "--table", str(table)]
    options += ["--profile", "tiny", "--networks", "shallow", "--folds", "2", "--seeds", "2"]
    for variant in ("published", "without-translation", "published"):
        recipes.main([*options, "--variants", variant])
    lines = pd.read_csv(table).set_index("variant")
    assert sorted(lines.index) == ["published", "repaired", "without translation"]
    assert (lines["low"] <= lines["difference"])[["published", "without translation"]].all()


PARALLEL = """
import sys
from dataclasses import replace
from helpers import datasets
from helpers.experiments import profiles, runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS
profile = profiles.PROFILES["tiny"]
dataset = profile.prepare(datasets.load(sys.argv[1]))
for name in sys.argv[2:]:
    recipe = replace(EXPERIMENTS[name].recipe, epochs=2, translation=0.0)
    runs.run(replace(EXPERIMENTS[name], recipe=recipe), dataset, profile)
"""


def test_two_processes_train_as_one_does(tiny_file, tmp_path, monkeypatch):
    """At the same global batch, without the randomness that each process draws for itself (dropout, shifts)."""
    names = ["shallow-schedule-statistics-published", "lite0-bi-objective-repaired", "vit-tiny-repaired"]
    (script := tmp_path / "parallel.py").write_text(PARALLEL)
    command, curves = [str(script), str(tiny_file), *names], {}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *command]
    for n_processes in (1, 2):
        monkeypatch.setenv("IT_RUNS", str(tmp_path / str(n_processes)))
        if n_processes == 1:
            monkeypatch.setattr(sys, "argv", command)
            runpy.run_path(str(script))
        else:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
            subprocess.run(launch, env=environment, check=True, capture_output=True)
        results = [json.loads(path.read_text()) for path in (tmp_path / str(n_processes)).glob("*/*/*/result.json")]
        assert {result["info"]["processes"] for result in results} == {n_processes}
        for result in results:
            losses = [(epoch["neural_loss"], epoch["label_loss"]) for epoch in result["history"]]
            curves.setdefault(result["info"]["name"], []).append(losses)
    assert set(curves) == set(names)
    for one, two in curves.values():
        assert len(one) >= 2
        np.testing.assert_allclose(two, one, rtol=1e-3)
