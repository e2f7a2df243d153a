"""What the run found, in words and in short tables: what page, README and the one-page PDF show."""

import json

import pandas as pd

from helpers import cache, notebook
from helpers.analyses import claims, tables
from helpers.datasets import describe
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.plots import KINDS, readable
from helpers.readout.features import ZOOM
from helpers.report.evidence import TRAINED


def answer(study, ladder, layers, best_name, repaired, gain, register, table):
    """The run's answer: dict note, headline, data, findings, run, limits, of text that is true on any data.

    study : notebook.Study. ladder, layers, repaired, gain : of `evidence.ladder`, `by_depth`, `by_recipe` and
    `gain_by_training`. best_name : the best model. register : of `claims.register`. table : of `tables.results_table`
    """
    dataset, rungs = study.dataset, ladder.set_index("model")
    best = rungs.loc["best model"]
    of_ceiling = f", {_share(best['estimate'] / best['ceiling'])} of what noise leaves to be explained"
    headline = (
        f"The best model predicts {_share(best['estimate'])} of the variance of the neurons' responses to images it "
        f"has not seen{of_ceiling if best['ceiling'] > 0 else ''}."
    )
    counts = repaired["verdict"].str.split(" (", regex=False).str[0].value_counts()
    known = describe.known(dataset.path)
    seconds = table["seconds"].mul(table["seeds"]).sum()
    trained_on = " and ".join(table["hardware"].dropna().unique())  # with fewer threads than this kernel, perhaps
    return {
        "note": study.note,
        "headline": headline,
        "data": f"**Data.** {dataset.path.name}{f' ({known})' if known else ''}: {dataset.n_neurons} neurons, "
        f"{len(dataset.train.images)} training, {len(dataset.val.images)} val and {len(dataset.test.images)} test "
        f"images. {study.ceiling_sentence} {_sizes(table, dataset)}",
        "findings": [
            f"**Readouts against training.** {_readouts(rungs, gain)} The best model, chosen on held-out training "
            f"images, is *{readable(best_name)}*.",
            f"**Where in a network.** {_depths(layers)}",
            f"**How a network is trained.** By the *repaired* recipe, {counts.get('higher', 0)} of {len(repaired)} "
            "rows that ran by both score higher than as published (their intervals exclude 0), "
            f"{counts.get('lower', 0)} lower{_gains(repaired)}.",
            f"**The published study.** {_claims(register)}",
        ],
        "run": f"**Run.** Profile {study.profile.name}; {notebook.stamp()}; "
        f"{seconds:.0f} s of training{f' on {trained_on}' if trained_on else ''}{_rate(table)}."
        f"{_by_command(table, study.profile)}",
        "limits": limits(dataset, register),
    }


def limits(dataset, register):
    """What a run on a data set cannot say: a list of sentences. register : of `claims.register`"""
    seen = set(dataset.val.objects) <= set(dataset.train.objects)
    tested = claims.measured(register) & (register["verdict"] != claims.UNTESTED)
    untested = [claim for claim, of_it in tested.groupby(register["claim"], sort=False) if not of_it.any()]
    return [
        "Of rows that were not run here, or not whole, nothing is said.",
        *[f"Not tested here: {'; '.join(untested)}."] * bool(untested),
        "One seed gives an interval over images alone. Intervals resample images, not neurons or animals.",
        *["Val shows objects of the training images; of new objects see held_out_objects.csv."] * seen,
        "The published study is of 168 sites of macaque IT: what is said of its claims holds for this file's neurons.",
    ]


def _readouts(rungs, gain):
    """What reading frozen networks gives beside training on the neurons, from a ladder's rungs."""
    frozen = rungs[rungs["approach"] == "readout"]["estimate"][::-1]
    scores = [", ".join(f"{_share(score)} ({model})" for model, score in frozen.items())]
    shallow, _ = TRAINED["shallow-dropout-l2-repaired"]
    trained = {readable("lite0-repaired"): "Lite0 fine-tuned", shallow: "the shallow CNN with dropout and L2"}
    trained["pixels"] = "pixels"
    scores += [f"{w} {_share(rungs.loc[model, 'estimate'])}" for model, w in trained.items() if model in rungs.index]
    lines = gain.dropna(subset="difference").to_dict("records")
    start = " Against the ridge heads that it starts from, on the frozen network, Lite0 fine-tuned differs by "
    added = (f"{start}{tables.effect(line)}." for line in lines)
    return f"Explained variance of frozen networks' readouts: {'; '.join(scores)}.{''.join(added)}"


def _depths(layers):
    """From which depth neurons are predicted best, by each kind of readout. layers : of `evidence.by_depth`"""
    best = layers.dropna(subset="explained_variance").groupby("kind")["explained_variance"].idxmax()
    lines = layers.loc[[best[kind] for kind in KINDS if kind in best]].to_dict("records")
    found = [
        f"at depth {line['depth']:.2f} of {readable(line['network'])} by {line['kind']} "
        f"({_share(line['explained_variance'])})"
        for line in lines
    ]
    return f"The best single layer lies {'; '.join(found)}. Depth 0 is a network's first layer, 1 its last."


def _gains(repaired):
    """Between what and what rows differ by their recipes. repaired : of `evidence.by_recipe`"""
    known = repaired["difference"].dropna()
    return f"; they differ by {known.min():+.2f} to {known.max():+.2f}" if len(known) else ""


def _sizes(table, dataset):
    """At how many pixels approaches see the images. table : of `tables.results_table`"""
    pixels = "x".join(map(str, dataset.images.shape[2:]))
    sizes = [f"Readouts of networks see them at {pixels} pixels and {ZOOM:g} times that"]
    ran = table.dropna(subset="pixels")
    for words, rows in (("the shallow CNN", ran[ran["stage"] == 1]), ("backbones", ran[ran["stage"] > 1])):
        sizes += [f"{words} trained at {' and '.join(rows['pixels'].unique())}"] if len(rows) else []
    return f"{', '.join(sizes)}."


def _by_command(table, profile):
    """Which rows the profile would not have run, and how many it would have run with fewer seeds."""
    ran = table[table["state"].str.startswith("run")]
    given = ran["name"].map(lambda name: profile.n_seeds(EXPERIMENTS[name]))
    others, n_more = ", ".join(ran.loc[given == 0, "name"]), ((given > 0) & (ran["seeds"] > given)).sum()
    words = [f" Rows run by command beside the profile: {others}."] if others else []
    return "".join([*words, *[f" With more seeds than the profile's: {n_more} rows."] * bool(n_more)])


def _rate(table):
    """How fast a backbone trained here, by which another machine's time can be told."""
    ran = table[(table["name"] == "lite0-published") & (table["seconds"] > 0)]
    per_second = ran["epochs"] * ran["n_train"] / ran["seconds"]
    return "".join(f", Lite0 {rate:.0f} images a second" for rate in per_second)


def _claims(register):
    """What became of the tests of claims, claims named where a test decides. register : of `claims.register`"""
    ran = register[claims.measured(register)]
    verdicts, words = ran["verdict"].str.split(" ").str[0], []
    said = {"supported": "Supported", "refuted": "Refuted", "depends": "Depends on epochs"}
    for verdict, heading in (said | {"untested:": "No test, as both rows are one network"}).items():
        of_it = ran[verdicts == verdict]
        named = "; ".join(f"*{claim}*" for claim in of_it["claim"].unique())
        n_single = of_it["verdict"].str.contains("one seed").sum()
        single = f", {n_single} of them by one seed" if n_single else ""
        words += [f"{heading}: {len(of_it)}{single} ({named})."] if len(of_it) else []
    words += [f"Undecidable: {(verdicts == 'undecidable').sum()}. Not tested here: {len(register) - len(ran)}."]
    n_claims = register["claim"].nunique()
    return f"{len(register)} tests of {n_claims} claims. {' '.join(words)}"


def _share(value):
    return tables.number(100 * value, ".0f") + "\xa0%"  # never at the start of a line


def ranked(ranking):
    """The candidates for the best model by their score on held-out training images. ranking : `best_model.choose`'s"""
    lines = [{"model": readable(name), "held-out explained variance": round(s, 3)} for name, s in ranking.items()]
    return pd.DataFrame(lines)


def keep(answer, path):
    """Write an answer as JSON."""
    text = json.dumps(answer, indent=1)
    cache.write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def by_recipe(table):
    """Return the rows of a results table that ran, a line each: explained variance by either recipe, seeds and cost.

    Parameters
    ----------
    table : results table of `tables.results_table`, or the CSV that notebook 4 made of it

    Returns
    -------
    pandas.DataFrame
        Text in columns stage, row, published recipe, repaired recipe (mean [95 % interval], that it was not run, why it
        is not compared, or nothing where the row has no such recipe), seeds (of both recipes, where they differ) and
        seconds a run.
    """
    lines = []
    for row, recipes in table.groupby("row", sort=False):
        ran = recipes[recipes["state"].str.startswith("run")]
        if len(ran):
            line = {"stage": str(ran["stage"].iloc[0]), "row": row, "published recipe": "", "repaired recipe": ""}
            line |= {f"{recipe['recipe']} recipe": _score(recipe) for recipe in recipes.to_dict("records")}
            line["seeds"] = ", ".join(dict.fromkeys(f"{seeds:.0f}" for seeds in ran["seeds"]))
            lines.append(line | {"seconds a run": f"{ran['seconds'].mean():.0f}"})
    return pd.DataFrame(lines)


def _score(line):
    """Return the score of one row by one recipe as text; no number for one that was cut, or not run."""
    if not line["state"].startswith("run"):
        return "not run in this profile"
    refused = line.get("refused")
    if isinstance(refused, str) and refused != tables.ACCIDENT:
        return f"{tables.NOT_COMPARED}{refused}"
    accident = f", {tables.ACCIDENT}" if line["state"].startswith("run from random") else ""
    found = tables.with_interval(line["explained_variance"], line["low"], line["high"], "z.2f")
    return found + (", over images alone" if line["seeds"] == 1 else "") + accident


def readme_blocks():
    """What the README shows of every committed folder of figures, recordings first: Markdown."""
    folders = [path.parent for path in sorted((cache.ROOT / "figures").glob("*/answer.json"))]
    blocks = [(folder.name == "standin", folder) for folder in folders]
    return "\n\n".join(f"### {folder.name}\n\n{readme_block(folder)}" for _, folder in sorted(blocks))


def readme_block(folder):
    """What the README shows of a folder of figures: findings and the rows that ran, as Markdown.

    folder : Path that holds notebook 4's answer.json and results.csv
    """
    found = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    frame = by_recipe(pd.read_csv(folder / "results.csv"))
    rows = [list(frame), ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "\n".join(
        [
            *filter(None, [f"**{found['note']}**\n" if found["note"] else ""]),
            f"{found['headline']}\n",
            f"{found['data']}\n",
            *(f"- {finding}" for finding in found["findings"]),
            "\nExplained variance on val, mean over neurons and seeds, 95 % interval:\n",
            *(f"| {' | '.join(row)} |" for row in rows),
            f"\n{found['run']}",
            *(f"\nThe whole page: [index.html](figures/{folder.name}/index.html)." for _ in folder.glob("index.html")),
        ]
    )
