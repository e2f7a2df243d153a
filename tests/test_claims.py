"""The register of claims: verdicts of hand-made intervals, planted effects, and claims that cannot be tested here."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import runs_of
from sklearn.metrics import explained_variance_score

from helpers import metrics, models, notebook
from helpers.analyses import claims, layer_profile, tables
from helpers.analyses.claims import CLAIMS, Claim
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.experiments.profiles import PROFILES
from helpers.report import evidence
from helpers.training.recipe import Step

TINY = PROFILES["tiny"]
OPEN = "undecidable with these data"


@pytest.mark.parametrize(
    ("low", "high", "sign", "expected"),
    [
        (0.02, 0.10, 1, "supported"),
        (0.02, 0.10, -1, "refuted"),
        (-0.10, -0.02, -1, "supported"),
        (-0.10, -0.02, 1, "refuted"),
        (-0.004, 0.009, 1, "refuted"),  # nothing there, for a claim of either sign
        (-0.004, 0.009, -1, "refuted"),
        (0.0, 0.0, -1, "refuted"),  # identical
        (-0.03, 0.02, 1, OPEN),
        (-0.005, 0.02, 1, OPEN),
        (-0.005, 0.02, -1, "refuted"),
        (0.001, 0.004, 1, "supported"),
        (float("nan"), float("nan"), 1, OPEN),
        (0.02, float("nan"), 1, OPEN),
        (float("nan"), -0.02, -1, OPEN),
    ],
)
def test_verdict_of_an_interval(low, high, sign, expected):
    assert claims.verdict(low, high, sign) == expected


def test_a_planted_difference_is_supported_and_its_absence_refuted(tiny):
    responses = tiny.val.responses.astype(np.float64)
    rng = np.random.default_rng(0)
    noise = responses.std(0) * rng.normal(size=(3, *responses.shape))
    predictions = {"good": responses + 0.3 * noise, "bad": responses + 0.8 * noise}
    predictions["same"] = predictions["good"] + 1e-4 * rng.normal(size=noise.shape)
    pairs = [("good", "bad", 1), ("bad", "good", 1), ("same", "good", 1), ("same", "good", -1)]
    found = [claims.compare(Claim("", "", *pair, "score"), predictions, tiny) for pair in pairs]
    assert [line["verdict"] for line in found] == ["supported", "refuted", "refuted", "refuted"]
    score = {key: np.mean([explained_variance_score(responses, p) for p in predictions[key]]) for key in predictions}
    assert found[0]["effect"] == pytest.approx(score["good"] - score["bad"], abs=1e-9)


def test_a_comparison_has_one_interval_in_the_register_and_in_every_table(tiny):
    responses = tiny.val.responses.astype(np.float64)
    noise = responses.std(0) * np.random.default_rng(0).normal(size=(2, 3, *responses.shape))
    tested = list({c.quantity: c for c in CLAIMS if "lite0" in c.row and "lite0" in c.against}.values())
    predictions = {name: responses + noise[i] for c in tested for i, name in enumerate((c.row, c.against))}
    register = [claims.compare(claim, predictions, tiny) for claim in tested]
    done = {name: runs_of(name, tiny, predicted) for name, predicted in predictions.items()}
    assert {c.quantity for c in tested} == set(claims.QUANTITIES)
    for claim, line in zip(tested, register, strict=True):
        part, metric = claims.QUANTITIES[claim.quantity]
        pairs = [("alone", claim.row, claim.against)]
        table = tables.differences(pairs, done, tiny, part=part, metric=metric).iloc[0]
        assert tuple(table[["difference", "low", "high"]]) == (line["effect"], line["low"], line["high"])
    a, b = (predictions[n] for n in pairs[0][1:])
    plain = metrics.interval(responses, a, tiny.val.objects, against=b)
    assert table["high"] - table["low"] > plain.high - plain.low and tables.FAMILY == len(CLAIMS)


def test_tests_without_a_number_are_one_sentence_with_the_command_that_decides_them(tiny):
    columns = ["claim", "test", "quantity", "effect", "low", "high", "seeds", "verdict", "note"]
    nan, weights = np.nan, f"{claims.WEIGHTS}vit_tiny.augreg, resnet50.tv_in1k; run by: python -m helpers run x"
    lines = [
        ["a", "counted", "score", 0.2, 0.1, 0.3, "3, 3", "supported", ""],
        ["b", "open", "score", nan, nan, nan, "3, 3", OPEN, ""],
        ["c", "no weights", "score", nan, nan, nan, "", "undecidable: random weights", weights],
        ["d", "not run", "score", nan, nan, nan, "", "undecidable: not in profile 'quick'", ""],
    ]
    frame = pd.DataFrame(lines, columns=columns)
    said = evidence.undecided(frame, tiny)
    assert said.startswith("2 of 4 tests have no number here (1 random weights; 1 not in profile 'quick')")
    assert "`python -m helpers claims --data " in said and "weights of resnet50.tv_in1k, vit_tiny.augreg in" in said
    page = evidence.claims_table(frame, tiny).to_html()
    assert "counted" in page and "open" in page and "not run" not in page and "nan" not in page
    assert evidence.undecided(frame[:2], tiny) == ""


INERT = "shallow-dropout-published", "shallow-schedule-statistics-published"  # dropout is never called


def test_dropout_that_is_never_called_changes_nothing(tiny, kept_runs):
    done = runs.run_all([EXPERIMENTS[name] for name in INERT], tiny, TINY, seeds=2)
    predictions = {name: np.array([run.val for run in found]) for name, found in done.items()}
    claim = next(c for c in CLAIMS if (c.row, c.against) == INERT)
    line = claims.compare(claim, predictions, tiny)
    assert line["effect"] == line["low"] == line["high"] == 0 and line["verdict"] == claims.UNTESTED
    assert not np.array_equal(predictions[INERT[0]][0], predictions[INERT[0]][1])  # seeds do


def test_stretched_rows_run_twice_as_long_at_the_same_shape_of_schedule():
    step, constant, cosine = (
        claims.stretched(EXPERIMENTS[f"shallow-{name}"]).recipe for name in ("schedule", "no-schedule", "repaired")
    )
    assert (step.epochs, step.schedule) == (40, Step(20, 0.6))
    assert (constant.epochs, constant.schedule.factor) == (40, 1.0)
    assert (cosine.epochs, cosine.schedule) == (20, EXPERIMENTS["shallow-repaired"].recipe.schedule)


def test_a_verdict_that_moves_at_twice_the_epochs_depends_on_them(tiny, kept_runs, capsys):
    """Stretched rows run when they are asked for, with the seeds of the others; what is there is used from then on."""
    claim = next(c for c in CLAIMS if (c.row, c.against) == INERT)
    done = runs.run_all([EXPERIMENTS[name] for name in INERT], tiny, TINY, seeds=2)
    line = claims.compare(claim, {name: np.array([run.val for run in done[name]]) for name in INERT}, tiny)
    assert claims.at_twice_the_epochs(line, claim, done, tiny, TINY, train=False) == {}
    capsys.readouterr()
    held = claims.at_twice_the_epochs(line, claim, done, tiny, TINY, train=True)
    assert capsys.readouterr().out.count(": 4 epochs in ") == 4
    note = f"at twice the epochs +0.000 [+0.000, +0.000], {claims.UNTESTED}"
    assert held == {"verdict": claims.UNTESTED, "note": note}  # dropout that is never called is nothing at any length
    moved = claims.at_twice_the_epochs(line | {"verdict": OPEN}, claim, done, tiny, TINY, train=False)
    assert moved == {"verdict": claims.MOVED, "note": note}
    assert claims.qualified(line | moved, claim, done) == moved
    more = {name: [*found, found[0]] for name, found in done.items()}  # of which not all ran longer
    assert claims.at_twice_the_epochs(line, claim, more, tiny, TINY, train=False) == {}
    with_backbone = replace(claim, row="lite0-published")
    assert claims.at_twice_the_epochs(line, with_backbone, done, tiny, TINY, train=True) == {}
    assert "stretched" not in " ".join([*EXPERIMENTS, *PROFILES["quick"].seeds, *PROFILES["colab"].seeds])


def test_a_claim_about_labels_is_judged_by_the_object_part():
    """Predictions that lose scale and views and gain the object: raw scores say the opposite of what was taught."""
    rng = np.random.default_rng(0)
    objects = np.repeat([f"object{i}" for i in range(20)], 12)
    of_object, of_view = np.repeat(rng.standard_normal((20, 5)), 12, axis=0), rng.standard_normal((240, 5))
    val = SimpleNamespace(responses=of_object + of_view, objects=objects)
    predictions = {"labels": 3 * of_object + 0.3 * rng.standard_normal((5, 240, 5))}
    predictions["none"] = 0.3 * of_view + 0.3 * rng.standard_normal((5, 240, 5))
    both = [Claim("", "", "labels", "none", -1, quantity) for quantity in claims.QUANTITIES]
    found = [claims.compare(claim, predictions, SimpleNamespace(val=val)) for claim in both]
    assert [line["verdict"] for line in found] == ["supported", "refuted"]
    of_stage_3 = {c.claim: c.quantity for c in CLAIMS if "labels" in c.claim}
    assert len(of_stage_3) == 2 and set(of_stage_3.values()) == {"object part"}


def test_register_without_pretrained_weights(tiny, kept_runs, tmp_path, monkeypatch):
    """Every claim has a line; those that weights decide say so, the others have an effect; the file is stamped."""
    for place in ("helpers.models.weights", "helpers.models"):
        monkeypatch.setattr(f"{place}.find_weights", lambda tag: (None, models.RANDOM))
    monkeypatch.setenv("IT_OUT", str(tmp_path))
    frame = claims.register(tiny, TINY, seeds=2)
    path = notebook.write_table(frame, tmp_path, "claims")
    columns = ["claim", "test", "quantity", "effect", "low", "high", "seeds", "verdict", "note"]
    assert list(frame.columns) == columns
    assert frame["claim"].nunique() >= 10 and len(frame) == len(CLAIMS)
    assert frame["verdict"].str.match("supported|refuted|undecidable|depends on epochs|untested").all()
    tested = frame["effect"].notna()
    assert (frame["verdict"][~tested] == "undecidable: random weights for want of pretrained ones").all()
    assert (tested == [c.row.startswith("shallow") for c in CLAIMS]).all()
    assert (frame["low"] <= frame["effect"])[tested].all() and (frame["effect"] <= frame["high"])[tested].all()
    assert set(frame["seeds"][tested]) == {"2, 2"}
    again = claims.register(tiny, TINY)  # as the report makes it: the seeds that are there, the same register
    pd.testing.assert_frame_equal(frame.drop(columns="note"), again.drop(columns="note"))

    read = pd.read_csv(path)
    page = evidence.claims_table(read, tiny).to_html()
    assert tables.SIMULATED in page and "nan" not in page


def test_rows_that_a_profile_trains_at_unlike_sizes_are_compared_at_one(tiny, kept_runs, monkeypatch):
    claim = Claim("pretraining aside", "", "lite0-random-repaired", "shallow-repaired", 1, "score")
    monkeypatch.setattr(claims, "CLAIMS", [claim])
    unlike = replace(TINY, backbone_pixels=32, shallow_pixels=16)
    left_out = claims.register(tiny, unlike)
    assert list(left_out["verdict"]) == [f"undecidable: {claims.UNLIKE}"] and list(left_out["note"]) == [""]
    assert f"(1 {claims.UNLIKE}); `python -m helpers claims --data" in evidence.undecided(left_out, tiny)
    tested = claims.register(tiny, unlike, seeds=1)
    assert "both at 32x32 pixels" in tested["note"][0] and tested["effect"].notna().all()
    pd.testing.assert_frame_equal(claims.register(tiny, unlike), tested)  # what is there, in a report of any length
    found = {row: runs.find_all(EXPERIMENTS[row], tiny, unlike) for row in (claim.row, claim.against)}
    assert len(found[claim.row]) == 1 and found[claim.against] == []  # a backbone's row is that profile's own


def test_what_cannot_be_tested_says_why_and_what_would_test_it(tiny):
    everything = dict.fromkeys((e.backbone for e in EXPERIMENTS.values()), "file")

    def found(name, dataset, profile):
        claim = next(c for c in CLAIMS if c.row == name)
        return claims.obstacle(claim, dataset, profile, everything, n_blocks=2)

    left_out = found("efficientnet-b5-published", tiny, PROFILES["quick"])
    assert left_out["verdict"] == "undecidable: not in profile 'quick'"
    assert "python -m helpers run efficientnet-b5-published --seed 0" in left_out["note"]
    assert found("efficientnet-b5-published", tiny, PROFILES["full"]) is None
    one = replace(tiny, train=replace(tiny.train, objects=np.full_like(tiny.train.objects, "face0")))
    assert found("lite0-bi-objective-repaired", one, TINY)["verdict"] == "undecidable: all images have one object label"
    assert found("lite0-bi-objective-repaired", tiny, TINY) is None and found("lite0-published", one, TINY) is None
    assert found(claims.DEPTHS[0], tiny, TINY)["verdict"] == "undecidable: 2 blocks in profile 'tiny'"


def test_the_middle_block_is_chosen_by_folds_not_by_val():
    score = {f"blocks.{i}": np.array([s, s]) for i, s in enumerate((0.1, 0.3, 0.5, 0.4, 0.2, 0.3, 0.1))}
    blocks = layer_profile.Blocks(score, dict.fromkeys(score), dict.fromkeys(score), "file")
    assert list(claims.blocks_compared(blocks).values()) == ["blocks.0", "blocks.3", "blocks.6"]


def test_a_claim_whose_rows_did_not_run_whole_has_no_number(tiny):
    claim = next(c for c in CLAIMS if (c.row, c.against) == ("lite0-published", "shallow-dropout-l2-published"))
    whole = {name: runs_of(name, tiny) for name in (claim.row, claim.against)}
    assert claims.refused(claim, whole, tiny) is None
    cut = whole | {claim.row: runs_of(claim.row, tiny, epochs=3)}
    expected = {"seeds": "", "verdict": "undecidable: lite0-published, 3 of 15 epochs", "note": ""}
    assert claims.refused(claim, cut, tiny) == expected
    accident = whole | {claim.row: runs_of(claim.row, tiny, weights=models.RANDOM)}
    assert claims.refused(claim, accident, tiny)["verdict"].endswith(tables.ACCIDENT)
    line = {"effect": 0.1, "low": 0.05, "high": 0.2, "verdict": "supported"}
    single = {name: of_row[:1] for name, of_row in whole.items()}
    assert claims.qualified(line, claim, whole) == {"verdict": "supported", "note": ""}
    assert claims.qualified(line, claim, single)["verdict"] == "supported (one seed)"


@pytest.mark.parametrize(
    ("name", "against", "changed"),
    [
        ("shallow-schedule", "shallow-no-schedule", {"schedule"}),
        ("shallow-statistics", "shallow-once", {"inputs"}),
        ("shallow-statistics", "shallow-published", {"inputs"}),
        (INERT[1], "shallow-schedule", {"inputs"}),
        (*INERT, {"dropout"}),
        ("shallow-dropout-0.2-applied", INERT[0], {"dropout_applied"}),
        ("shallow-dropout-0.2-l2-applied", "shallow-dropout-0.2-applied", {"weight_decay"}),
        ("vit-tiny-rate-1e-04", "vit-tiny-published", {"learning_rate"}),
        ("vit-tiny-cosine", "vit-tiny-published", {"schedule"}),
        ("vit-tiny-once", "vit-tiny-published", {"inputs"}),
        ("vit-tiny-own", "vit-tiny-published", {"inputs"}),
    ],
)
def test_one_thing_at_a_time(name, against, changed):
    a, b = EXPERIMENTS[name], EXPERIMENTS[against]
    parts = [(a, b, set(f.name for f in fields(a)) - {"name", "row", "recipe", "in_table"})]
    parts += [(a.recipe, b.recipe, {f.name for f in fields(a.recipe)})]
    assert {key for x, y, keys in parts for key in keys if getattr(x, key) != getattr(y, key)} == changed


def test_claims_name_experiments_and_single_changes_stay_out_of_the_table():
    assert {name for c in CLAIMS for name in (c.row, c.against)} <= {*EXPERIMENTS, *claims.DEPTHS}
    assert {c.sign for c in CLAIMS} == {-1, 1} and {c.quantity for c in CLAIMS} == set(claims.QUANTITIES)
    assert all(e.in_table for e in EXPERIMENTS.values() if e.name.endswith(("-published", "-repaired")))
    assert repr(replace(EXPERIMENTS["lite0-published"], in_table=False)) == repr(EXPERIMENTS["lite0-published"])
