"""Search for the shallow CNN's settings by Optuna, on folds of the training images; one process or many workers.

The study lies in a journal file, which workers on one machine share, or in a server's database, which Optuna takes by
URL. A worker that is killed loses the trial it was at; others and later ones go on with the study.
"""

import json
from dataclasses import replace

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from helpers import cache, datasets, progress
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.training import loop

STARTING_POINT = "shallow-dropout-l2-repaired"


def open_study(start, dataset, storage=None):
    """The study of this data set from this starting point: made at first, taken up again later.

    start : Experiment. dataset : as `Profile.training_data` returned it
    storage : URL of a server's database; None for a journal file in the folder of runs.

    Raises ValueError for an SQLite file, which gives one waiting trial to two workers.
    """
    if storage is not None and storage.startswith("sqlite"):
        raise ValueError(f"{storage}: SQLite is not for several workers; expected the URL of a database on a server")
    if storage is None:
        cache.make_writable(cache.runs_folder(), "IT_RUNS")
        storage = open_journal(cache.runs_folder() / "search.journal")
    settings = {"start": start, "data": dataset.fingerprint, "code": cache.code_hash("search")}
    name = f"shallow-{dataset.name}-{cache.digest(settings)}"
    try:
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        study.enqueue_trial(starting_point(start))  # by whoever makes the study, so that no two workers do
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3)
    return study


def open_journal(path):
    """Storage in a journal file; a damaged one is set aside with a warning.

    Optuna takes a file whose last line was cut short, goes on after it, and then can read it no more.
    """
    lock = JournalFileOpenLock(str(path))  # not by a symbolic link, Optuna's default, which Colab's Drive does not take
    lock.acquire()  # no other worker writes while this one reads
    try:
        if path.exists():
            lines = path.read_text(encoding="utf-8").split("\n")
            if lines.pop():
                raise ValueError("its last line is cut short")
            for line in lines:
                json.loads(line)
            JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except Exception as error:  # whatever a damaged file raises
        cache.set_aside(path, error)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def starting_point(start):
    """The settings of an experiment, as a trial has them."""
    of_recipe = {name: getattr(start.recipe, name) for name in ("learning_rate", "weight_decay", "translation")}
    return of_recipe | {"channels": start.channels[0], "dropout": start.dropout}


def suggest(trial):
    """The experiment of one trial. The starting point is the first trial, so the best is never below it."""
    start = EXPERIMENTS[STARTING_POINT]
    recipe = replace(
        start.recipe,
        learning_rate=trial.suggest_float("learning_rate", 2e-4, 5e-3, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-3, 1.0, log=True),
        translation=trial.suggest_float("translation", 0.0, 0.12),
    )
    width = trial.suggest_categorical("channels", [16, 32])
    dropout = trial.suggest_float("dropout", 0.0, 0.6)
    row = "Shallow CNN, settings searched"
    return replace(
        start, name="shallow-searched-repaired", row=row, recipe=recipe, channels=(width, 2 * width), dropout=dropout
    )


def search(dataset, profile, *, n_trials, storage=None):
    """Run trials until the study has `n_trials` finished ones, and return the study.

    A trial trains on the fit images of fold 0 of the training images and scores the held_out ones after each epoch; one
    that falls below the median of the others at the same epoch is pruned. Val is not touched.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a trial that Ctrl-C ends is a traceback in its warnings
    start = EXPERIMENTS[STARTING_POINT]
    dataset = profile.training_data(start, dataset)
    study = open_study(start, dataset, storage)
    fold = datasets.fold_of(dataset, 0)

    def objective(trial):
        study.sampler = optuna.samplers.TPESampler(seed=trial.number)  # the same every time, another for every worker
        experiment = suggest(trial)
        model, _ = experiment.build(dataset, 0)

        def report(done, epochs, epoch):
            if not np.isfinite(epoch["held_out_explained_variance"]):
                raise optuna.TrialPruned
            trial.report(epoch["held_out_explained_variance"], done)
            if trial.should_prune():
                raise optuna.TrialPruned

        history = loop.fit(
            model,
            dataset,
            experiment.recipe,
            seed=0,
            normalisation=experiment.inputs.normalisation(dataset, None),
            fold=fold,
            held_out_score=runs.held_out_score,
            progress=report,
        )
        return history[-1]["held_out_explained_variance"]

    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    with progress.bar("trials", n_trials) as trials_done:
        while (done := len(study.get_trials(deepcopy=False, states=finished))) < n_trials:
            progress.advance(trials_done, done)
            study.optimize(objective, n_trials=1)
    if all(trial.params != starting_point(start) for trial in study.get_trials(deepcopy=False, states=finished)):
        study.enqueue_trial(starting_point(start))  # the worker that was at the starting point was killed
        study.optimize(objective, n_trials=1)
    best = study.best_trial
    print(f"{n_trials} trials; best on held-out training images: {best.value:.3f}", flush=True)
    return study
