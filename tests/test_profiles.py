"""What a session's minutes hold: the rule by imitated costs and an imitated clock; the timing by a tiny row."""

import math
from types import SimpleNamespace

import pytest

from helpers.experiments import profiles, runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.training import loop

COLAB = profiles.PROFILES["colab"]


def imitated(costs, kept):
    """Timing and finished runs that are imitations: minutes a run by family, how many seeds of a row are there."""

    def seconds_of(names, dataset, profile):
        timed.append(len(names))
        return {name: 60 * next((m for family, m in costs.items() if name.startswith(family)), 1) for name in names}

    timed = []
    return seconds_of, (lambda experiment, dataset, profile: [None] * kept.get(experiment.name, 0)), timed


def test_what_fits_runs_in_order_and_the_next_session_goes_on(tiny, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("IT_SCRATCH", str(tmp_path))
    clock, kept = [0.0], {}
    seconds_of, find_all, timed = imitated({"shallow": 0.5, "deeper": 0.5, "lite0": 4, "pnasnet": 300}, kept)
    how = {"seconds_of": seconds_of, "now": lambda: clock[0]}
    first = profiles.planned(COLAB, tiny, find_all, **how)
    said = capsys.readouterr().out
    assert list(first.seeds) == list(COLAB.seeds) and first.seeds["lite0-repaired"] == 3
    assert first.seeds["pnasnet5large-published"] == 0 and "pnasnet5large-published 1 x 300 min" in said
    minutes = {name: seconds_of([name], None, None)[name] / 60 for name in first.seeds}
    assert sum(n * minutes[name] for name, n in first.seeds.items()) <= 75
    assert first.n_seeds(EXPERIMENTS["pnasnet5large-published"]) == 0 and "run by" not in said

    timed.clear()
    clock[0] = 3600  # the next notebook of the session: the same plan, not timed again, whatever has run meanwhile
    kept |= {"shallow-published": 3}
    assert profiles.planned(COLAB, tiny, find_all, **how).seeds == first.seeds and timed == []
    clock[0] = 13 * 3600
    kept |= dict(first.seeds)
    later = profiles.planned(COLAB, tiny, find_all, **how)
    assert timed == [sum(first.seeds[name] < n for name, n in COLAB.seeds.items())]
    assert all(later.seeds[name] >= n for name, n in first.seeds.items())


def test_a_session_goes_on_until_all_that_fits_one_is_there():
    wanted, seconds = {"a": 3, "b": 1, "c": 1}, {"a": 30, "b": 200, "c": 40}
    runs_now, left = profiles.fitting_runs(wanted, dict.fromkeys(wanted, 0), seconds, 100)
    assert runs_now == {"a": 3, "b": 0, "c": 0} and left == {"b": 1, "c": 1}
    runs_now, left = profiles.fitting_runs(wanted, runs_now, {"b": 200, "c": 40}, 100)
    assert runs_now == {"a": 3, "b": 0, "c": 1} and left == {"b": 1}
    assert profiles.fitting_runs({"x": 2}, {"x": 0}, {"x": math.inf}, math.inf)[0] == {"x": 0}


def test_full_says_its_hours_and_leaves_nothing_out(tiny, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("IT_SCRATCH", str(tmp_path))
    seconds_of, find_all, _ = imitated({}, {})
    full = profiles.planned(profiles.PROFILES["full"], tiny, find_all, seconds_of=seconds_of)
    n_runs = 3 * sum(e.in_table for e in EXPERIMENTS.values())
    assert sum(full.seeds.values()) == n_runs
    assert f"{n_runs} runs to train whole, about {n_runs / 60:.1f} hours" in capsys.readouterr().out
    assert profiles.planned(profiles.PROFILES["quick"], tiny, find_all) is profiles.PROFILES["quick"]


def test_ten_steps_are_timed_once_a_kind_of_row(tiny, monkeypatch):
    seen = []
    fit = loop.fit

    def counted(model, data, recipe, **how):
        seen.append(recipe.epochs * len(data.train.images) / recipe.batch_size)
        return fit(model, data, recipe, **how)

    monkeypatch.setattr(loop, "fit", counted)
    names = ["shallow-published", "shallow-schedule-statistics-published", "shallow-repaired"]
    seconds = profiles.seconds_a_run(names, tiny, profiles.PROFILES["tiny"])
    assert len(seen) == 2 and all(steps <= 2 * profiles.TIMED_STEPS for steps in seen)
    assert seconds[names[1]] == pytest.approx(2 * seconds[names[0]])  # twice the epochs
    assert set(runs.find_all(EXPERIMENTS[names[0]], tiny, profiles.PROFILES["tiny"])) == set()


@pytest.mark.parametrize(
    ("n_train", "of_backbones", "of_shallow"),
    [(2592, 64, 48), (1000, 64, 48), (700, 96, 64), (448, 112, 64), (6, 112, 112)],
)
def test_fewer_images_are_seen_at_more_pixels(n_train, of_backbones, of_shallow):
    dataset, quick = SimpleNamespace(train=SimpleNamespace(images=range(n_train))), profiles.PROFILES["quick"]
    assert [quick.side(dataset, backbone=backbone) for backbone in (True, False)] == [of_backbones, of_shallow]
    assert COLAB.side(dataset, backbone=True) is None
