"""The search: workers share a study, and one that is killed loses the trial it was at and no other."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import optuna
import pytest
from conftest import short
from kill import SERVER
from optuna.trial import TrialState

from helpers import datasets
from helpers.experiments import profiles, search
from helpers.experiments.networks_and_recipes import EXPERIMENTS

N_TRIALS = 6
TINY = profiles.PROFILES["tiny"]
START = short(EXPERIMENTS[search.STARTING_POINT], 5)


def work(tiny_file, folder, together, counted, stuck, stuck_at):
    """A worker in a process of its own. counted : its trials so far; stuck : set at `stuck_at`, where it stays."""
    os.environ["IT_RUNS"] = str(folder)
    EXPERIMENTS[search.STARTING_POINT] = START
    fit = search.loop.fit

    def counting_fit(*arguments, **settings):
        counted.value += 1
        if counted.value == stuck_at:
            stuck.set()
            time.sleep(600)
        return fit(*arguments, **settings)

    search.loop.fit = counting_fit
    dataset = TINY.prepare(datasets.load(tiny_file))
    if together:
        together.wait(timeout=120)
    search.search(dataset, TINY, n_trials=N_TRIALS)


def begin(tiny_file, folder, together=None, stuck=None, stuck_at=None):
    counted = SERVER.Value("i", 0)
    process = SERVER.Process(target=work, args=(str(tiny_file), str(folder), together, counted, stuck, stuck_at))
    process.start()
    return process, counted


def trials_of(tiny):
    return search.open_study(START, TINY.prepare(tiny)).trials


def test_two_workers_share_a_study(tiny_file, tiny, runs_folder):
    trials_of(tiny)  # makes the study
    together = SERVER.Barrier(2)
    workers = [begin(tiny_file, runs_folder, together) for _ in range(2)]
    for process, counted in workers:
        process.join()
        assert process.exitcode == 0 and counted.value
    trials = trials_of(tiny)
    assert len(trials) == sum(counted.value for _, counted in workers)
    assert N_TRIALS <= len(trials) <= N_TRIALS + 1  # each ends the trial it is at
    assert all(trial.state.is_finished() for trial in trials)
    assert len({trial.params["learning_rate"] for trial in trials}) == len(trials)  # nothing is tried twice


def test_each_waiting_trial_goes_to_one_worker(tmp_path):
    path, n_workers, n_each = tmp_path / "study.journal", 2, 20
    study = optuna.create_study(study_name="waiting", storage=search.open_journal(path))
    for number in range(n_workers * n_each):
        study.enqueue_trial({"number": number})
    together = threading.Barrier(n_workers)

    def ask(_):
        worker = optuna.load_study(study_name="waiting", storage=search.open_journal(path))
        together.wait()
        return [worker.ask().number for _ in range(n_each)]

    with ThreadPoolExecutor(n_workers) as pool:
        asked = [number for numbers in pool.map(ask, range(n_workers)) for number in numbers]
    assert sorted(asked) == list(range(n_workers * n_each))


def test_sqlite_is_refused_before_any_work(tiny, runs_folder):
    with pytest.raises(ValueError, match="sqlite:///study.db: .* expected the URL of a database on a server"):
        search.search(tiny, TINY, n_trials=1, storage="sqlite:///study.db")


@pytest.mark.parametrize("killed_at", [1, 3])
def test_a_killed_worker_loses_the_trial_it_was_at(killed_at, tiny_file, tiny, runs_folder):
    """Trial 1 is the starting point, which another worker then tries again."""
    stuck = SERVER.Event()
    process, _ = begin(tiny_file, runs_folder, None, stuck, killed_at)
    assert stuck.wait(timeout=120)
    process.kill()
    process.join()
    before = trials_of(tiny)
    assert [trial.state.is_finished() for trial in before] == [True] * (killed_at - 1) + [False]

    process, counted = begin(tiny_file, runs_folder)
    process.join()
    assert process.exitcode == 0
    after = trials_of(tiny)
    again = killed_at == 1
    assert len(after) == N_TRIALS + 1 + again and counted.value == N_TRIALS - (killed_at - 1) + again
    finished = [trial for trial in after if trial.state.is_finished()]
    assert [trial.number for trial in after if trial.state == TrialState.RUNNING] == [killed_at - 1]
    np.testing.assert_equal([trial.value for trial in after[: killed_at - 1]], [trial.value for trial in before[:-1]])
    assert START.recipe.learning_rate in [trial.params["learning_rate"] for trial in finished]
