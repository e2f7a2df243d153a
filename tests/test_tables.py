"""Tables compare what can be compared and show as undefined what is not defined; the committed ones do too."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import runs_of
from scipy.stats import pearsonr
from sklearn.metrics import explained_variance_score

from helpers import metrics, models
from helpers.analyses import claims, tables
from helpers.cache import ROOT
from helpers.datasets import populations
from helpers.experiments.networks_and_recipes import EXPERIMENTS, published_rows

COMMITTED = sorted([*(ROOT / "figures").glob("*/*.csv"), *(ROOT / "benchmarks").glob("*.csv")])
STAGES = ("results.csv", "stage1.csv", "stage2.csv", "stage2_start.csv", "stage3.csv")
OF_TRAINED_ROWS = (*STAGES, "recipes.csv", "rows.csv")
PAIR = [("repaired against published", "lite0-repaired", "lite0-published")]


def identity(path):
    return str(path.relative_to(ROOT))


@pytest.fixture
def noisy(tiny):
    """Predictions (3, n_images, n_neurons): the val responses and noise."""
    noise = np.random.default_rng(0).normal(size=(3, *tiny.val.responses.shape))
    return tiny.val.responses + 0.5 * tiny.val.responses.std(0) * noise


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"epochs": 3}, "3 of 15 epochs"),
        ({"recipe_epochs": None}, "15 of an unknown number of epochs"),
        ({"n_train": 48}, "48 of 96 training images"),
        ({"weights": models.RANDOM}, tables.ACCIDENT),
    ],
)
def test_a_row_that_is_not_whole_has_no_difference_and_says_why(tiny, noisy, info, reason):
    done = {name: runs_of(name, tiny, noisy) for name in PAIR[0][1:]}
    done |= {"lite0-published": runs_of("lite0-published", tiny, noisy, **info)}
    pairs = [*PAIR, ("itself", "lite0-repaired", "lite0-repaired")]
    line, same = tables.differences(pairs, done, tiny).to_dict("records")
    assert line["verdict"] == f"not compared: lite0-published, {reason}"
    assert np.isnan([line[key] for key in ("difference", "low", "high")]).all()
    assert same["verdict"] == "identical" and same["difference"] == 0
    table = tables.results_table([EXPERIMENTS[name] for name in PAIR[0][1:]], done, tiny)
    assert pd.isna(table["refused"][0]) and table["refused"][1] == reason and table["recipe_epochs"][0] == 15
    assert "nan" not in str([tables.effect(line) for line in tables.differences(pairs, done, tiny).to_dict("records")])


def test_rows_of_two_sizes_are_not_compared(tiny, noisy):
    done = {"lite0-repaired": runs_of("lite0-repaired", tiny, noisy)}
    done["lite0-published"] = runs_of("lite0-published", tiny, noisy, pixels="48 x 48")
    assert (
        tables.differences(PAIR, done, tiny)["verdict"].item() == "not compared: input sizes 32 x 32 and 48 x 48 pixels"
    )
    without = runs_of("lite0-repaired", tiny, noisy)
    del without[0].info["pixels"]
    assert "unknown" in tables.refusal({"row": without}, ["row"], tiny)


def test_refused_pairs_do_not_widen_the_others(tiny, noisy):
    other = noisy + 0.1 * tiny.val.responses.std(0) * np.random.default_rng(1).normal(size=noisy.shape)
    done = {"lite0-repaired": runs_of("lite0-repaired", tiny, noisy)}
    done["lite0-published"] = runs_of("lite0-published", tiny, other)
    done["cut"] = runs_of("cut", tiny, other, epochs=1)
    alone = tables.differences(PAIR, done, tiny)
    both = tables.differences([*PAIR, ("cut", "lite0-repaired", "cut")], done, tiny)
    assert both["low"][0] == alone["low"][0] and both["high"][0] == alone["high"][0]


def test_verdicts_know_what_is_not_defined_and_what_is_the_same():
    rng = np.random.default_rng(0)
    nan = np.nan
    assert [tables.verdict(*ends) for ends in ((nan, nan), (0.1, nan), (nan, -0.1))] == ["cannot be decided"] * 3
    assert [tables.verdict(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (0.0, 0.0))] == [
        "higher",
        "lower",
        "interval includes 0",
    ]
    few = SimpleNamespace(responses=rng.normal(size=(4, 3)), objects=np.zeros(4))
    a, b = rng.normal(size=(2, 1, 4, 3))
    found = tables.compared(a, b, few)
    assert found["verdict"] == "cannot be decided (one seed each)" and np.isnan(found["low"])
    assert tables.compared(a, a, few)["verdict"].startswith("identical")
    assert tables.compared(a[0], b[0], few)["verdict"] == "cannot be decided"  # nothing is drawn: no seeds
    many = SimpleNamespace(responses=rng.normal(size=(40, 3)), objects=np.arange(40) % 4)
    moved = rng.normal(size=(2, 40, 3))
    assert tables.compared(moved, moved + 3, many)["verdict"] != "identical"  # scores alike, predictions not


def test_numbers_that_are_not_defined_are_not_shown_as_numbers():
    nan = np.nan
    assert tables.with_interval(nan, nan, nan) == "undefined"
    assert tables.with_interval(0.25, nan, nan, ".2f") == "0.25 [undefined]"
    assert tables.with_interval(0.25, 0.1, 0.4, "+.2f") == "+0.25 [+0.10, +0.40]"
    assert claims.effect({"effect": nan, "low": nan, "high": nan, "verdict": claims.OPEN}) == "undefined"


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_responses_that_are_all_constant_give_a_table_without_numbers(tiny, noisy):
    flat = replace(tiny, val=replace(tiny.val, responses=np.ones_like(tiny.val.responses), repeats=None))
    table = tables.results_table([EXPERIMENTS["lite0-published"]], {"lite0-published": runs_of("x", flat, noisy)}, flat)
    page = tables.shown(table, flat).to_html()
    assert "undefined" in page and "nan" not in page


def test_a_table_of_no_rows_is_shown_empty(tiny):
    table = tables.results_table([], {}, tiny)  # stage 3 where all images have one label
    assert table["explained_variance"].empty and "state" in tables.shown(table, tiny).to_html()
    assert tables.published_block(table).empty


def test_scores_are_those_of_scikit_learn_and_scipy_beside_both_normalisations(tiny, noisy):
    responses, ceiling = tiny.val.responses, np.full(tiny.n_neurons, 0.8)
    found = tables.score_predictions(noisy, tiny, ceiling)
    explained = np.mean([explained_variance_score(responses, p, multioutput="raw_values") for p in noisy], axis=0)
    correlated = np.mean([[pearsonr(y, q).statistic for y, q in zip(responses.T, p.T, strict=True)] for p in noisy])
    assert found["explained_variance"] == pytest.approx(explained.mean(), abs=1e-6)
    assert found["correlation"] == pytest.approx(correlated, abs=1e-6)
    for kind in ("normalised", "ratio_of_means"):
        assert found[f"{kind}_explained_variance"] == pytest.approx(explained.mean() / 0.8, abs=1e-6)
        assert found[f"{kind}_correlation"] == pytest.approx(correlated / 0.8**0.5, abs=1e-6)
    assert np.isnan(tables.score_predictions(noisy, tiny, np.full(tiny.n_neurons, 0.1))["normalised_correlation"])


def test_scores_by_animal_area_and_category_are_those_of_their_neurons_and_images(tiny, noisy):
    val, n = tiny.val, tiny.n_neurons
    category = np.array(["alone", *np.tile(["fruit", "tool"], len(val.images))[: len(val.images) - 1]])
    animal = np.array(["F", "N"])[np.arange(n) % 2]
    named = replace(tiny, val=replace(val, metadata={"category": category}))
    named = replace(named, neurons={"animal": animal, "area": np.full(n, "IT"), "array": animal})
    found = tables.scores_by_group(noisy, named).set_index("group")
    assert found["by"].to_dict() == dict.fromkeys("FN", "animal") | dict.fromkeys(set(category), "category")
    for group, line in found.drop("alone").iterrows():
        images, neurons = (
            (category == group, animal == animal) if line["by"] == "category" else (val.objects != "", animal == group)
        )
        chosen = np.ix_(images, neurons)
        responses, predictions = val.responses[chosen], [p[chosen] for p in noisy]
        explained = np.mean([explained_variance_score(responses, p, multioutput="raw_values") for p in predictions])
        ceiling = metrics.noise_ceiling(val.repeats[images][:, :, neurons])
        assert (line["n_images"], line["n_neurons"]) == responses.shape
        assert line["explained_variance"] == pytest.approx(explained, abs=1e-6)
        assert line["low"] < explained < line["high"] and line["noise_ceiling"] == pytest.approx(ceiling.mean())
        assert line["ratio_of_means_explained_variance"] == pytest.approx(explained / ceiling.mean(), abs=1e-6)
    alone = found.loc["alone"]
    assert alone["n_images"] == 1 and alone[["noise_ceiling", *tables.SCORES]].isna().all()
    untold = replace(named, val=replace(named.val, repeats=None))  # without repeats no ceiling of a part is known
    without = tables.scores_by_group(noisy[0], untold)
    assert without["normalised_correlation"].isna().all() and without["low"].notna().sum() == 4
    assert tables.scores_by_group(noisy, tiny).empty


def test_both_ceilings_stand_beside_each_other_and_their_absence_has_its_reason(tiny):
    both = populations.ceilings(tiny)
    np.testing.assert_array_equal(both["signal_power"], metrics.noise_ceiling(tiny.val.repeats))
    assert len(both) == tiny.n_neurons and abs(both["signal_power"].mean() - both["split_half"].mean()) < 0.05
    assert "by split halves" in populations.ceiling_of(tiny)[1]
    few = replace(tiny, val=replace(tiny.val, repeats=tiny.val.repeats[:, :1]))
    assert populations.ceiling_of(few)[1].startswith("Fewer than four val images, or none with two trials")
    none = replace(tiny, val=replace(tiny.val, repeats=None))
    assert populations.ceiling_of(none)[1].startswith("The file has no repeats") and populations.ceilings(none) is None


@pytest.mark.parametrize("path", [p for p in COMMITTED if p.name in OF_TRAINED_ROWS], ids=identity)
def test_committed_rows_ran_whole_on_the_same_images(path):
    table = pd.read_csv(path)
    missing = {"epochs", "recipe_epochs", "n_train", "pixels"} - {*table}
    assert not missing, f"{path.name} says nothing of {missing}"
    ran = table.dropna(subset="epochs")
    cut = ran[ran["epochs"] != ran["recipe_epochs"]]
    assert cut.empty, f"{len(cut)} rows ran less than their recipe's epochs"
    if "name" in table:
        declared = {name: EXPERIMENTS[name].recipe.epochs for name in ran["name"] if name in EXPERIMENTS}
        assert declared == {name: n for name, n in zip(ran["name"], ran["epochs"], strict=True) if name in declared}
    groups = ran.groupby("data") if "data" in table else [("", ran)]  # recipes.csv: two files
    assert all(rows["n_train"].nunique() == 1 for _, rows in groups), "rows of other images stand beside each other"
    if "row" in table:
        assert (ran.groupby("row")["pixels"].nunique() == 1).all(), "a pair of recipes at two sizes"


@pytest.mark.parametrize("path", [p for p in COMMITTED if "verdict" in pd.read_csv(p, nrows=0)], ids=identity)
def test_committed_verdicts_are_of_whole_rows(path):
    table = pd.read_csv(path)
    told = table[~table["verdict"].str.startswith((tables.NOT_COMPARED, "undecidable"))]
    if "claim" in table:
        assert "quantity" in table, "made before rows that are not whole were refused"
        assert not table["note"].fillna("").str.contains("epochs cut").any()
    if "against" in table:
        rows = [pd.read_csv(p) for p in path.parent.glob("*.csv") if p.name in STAGES]
        whole = {name for each in rows if "refused" in each for name in each.loc[each["refused"].isna(), "name"]}
        named = {name.removesuffix("-shuffled") for column in ("name", "against") for name in told[column]}
        assert named <= whole, f"verdicts from rows that are not whole: {sorted(named - whole)}"


def lacks_rows(table):
    """Whether a table of benchmarks/rows.py lacks rows of the published table and does not say so."""
    named = {row for row, line in published_rows().items() if line["stage"] in "123"}
    expected = {name for name, e in EXPERIMENTS.items() if e.in_table and e.row in named}
    said = table["made"].str.startswith(f"incomplete, {len(table)} of {len(expected)} rows").all()
    return set(table["name"]) != expected and not said


@pytest.mark.parametrize("path", [p for p in COMMITTED if p.name == "rows.csv"], ids=identity)
def test_the_table_of_every_published_row_is_whole_or_says_what_it_lacks(path):
    assert not lacks_rows(pd.read_csv(path))


def test_a_table_that_lacks_rows_is_refused():
    few = pd.DataFrame({"name": ["shallow-published", "vit-tiny-repaired"], "made": "python benchmarks/rows.py; today"})
    assert lacks_rows(few) and not lacks_rows(few.assign(made="incomplete, 2 of 30 rows; " + few["made"]))


@pytest.mark.parametrize("path", [p for p in COMMITTED if p.name == "learning_curve.csv"], ids=identity)
def test_every_number_of_images_of_the_learning_curve_has_all_approaches(path):
    table = pd.read_csv(path)
    assert (table.groupby("n_train")["approach"].agg(set) == set(table["approach"])).all()
