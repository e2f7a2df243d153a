"""What the run found, in words and in short tables: what page, README and the one-page PDF show."""

import json

import pandas as pd

from helpers import cache, notebook
from helpers.analyses import tables
from helpers.datasets import describe
from helpers.plots import readable

LIMITS = [  # of any run
    "Rows without a number were not run here: nothing is said about them.",
    "One seed gives an interval over images alone.",
    "Approaches may see the images at different sizes, as the table says.",
    "Val shows the objects of the training images: scores for objects never seen may differ (held_out_objects.csv).",
    "Intervals resample images, not neurons or animals.",
    "The published study is of 168 sites of macaque IT: what is said of its claims holds for this file's neurons.",
]


def answer(study, ladder, best_name, repaired, gain, register, table):
    """The run's answer: dict note, headline, data, findings, run, limits, of text that is true on any data.

    study : notebook.Study. ladder : of `evidence.ladder`. best_name : the best model. repaired : of
    `evidence.by_recipe`. gain : of `evidence.gain_by_training`. register : of `claims.register`. table : of
    `tables.results_table`
    """
    dataset, rungs = study.dataset, ladder.set_index("model")
    best = rungs.loc["best model"]
    of_ceiling = f", {_share(best['estimate'] / best['ceiling'])} of what noise leaves to be explained"
    headline = (
        f"The best model predicts {_share(best['estimate'])} of the variance of the neurons' responses to images it "
        f"has not seen{of_ceiling if best['ceiling'] > 0 else ''}."
    )
    counts = repaired["verdict"].str.partition(" (")[0].value_counts()
    known = describe.known(dataset.path)
    seconds = table["seconds"].mul(table["seeds"]).sum()
    trained_on = " and ".join(table["hardware"].dropna().unique())  # with fewer threads than this kernel, perhaps
    return {
        "note": study.note,
        "headline": headline,
        "data": f"**Data.** {dataset.path.name}{f' ({known})' if known else ''}: {dataset.n_neurons} neurons, "
        f"{len(dataset.train.images)} training, {len(dataset.val.images)} val and {len(dataset.test.images)} test "
        f"images. {study.ceiling_sentence}",
        "findings": [
            f"**Readouts against training.** {_readouts(rungs, gain)} The best model, chosen on held-out training "
            f"images, is *{readable(best_name)}*.",
            "**How a network is trained.** Trained as it should be (*repaired* recipe), a network scores higher than "
            f"trained as published in {counts.get('higher', 0)} of the {len(repaired)} rows that ran here by both, and "
            f"lower in {counts.get('lower', 0)}.",
            f"**The published study.** {_claims(register)}",
        ],
        "run": f"**Run.** Profile {study.profile.name}; {notebook.stamp()}; "
        f"{seconds:.0f} s of training{f' on {trained_on}' if trained_on else ''}{_rate(table)}.",
        "limits": LIMITS,
    }


def _readouts(rungs, gain):
    """What reading frozen networks gives beside training on the neurons, from a ladder's rungs."""
    tuned = readable("lite0-repaired")
    words = {model: f"{model} of frozen ones" for model in rungs.index[rungs["approach"] == "readout"][::-1]}
    words |= {tuned: f"{tuned}, plain heads", "shallow CNN": "shallow CNN with dropout and L2", "pixels": "pixels"}
    scores = ", ".join(
        f"{w} {_share(rungs.loc[model, 'estimate'])}" for model, w in words.items() if model in rungs.index
    )
    added = (f" Training Lite0 adds {tables.effect(line)} to its own start." for line in gain.to_dict("records"))
    return f"Explained variance: {scores}.{''.join(added)}"


def _rate(table):
    """How fast a backbone trained here, by which another machine's time can be told."""
    ran = table[(table["name"] == "lite0-published") & (table["seconds"] > 0)]
    per_second = ran["epochs"] * ran["n_train"] / ran["seconds"]
    return "".join(f", Lite0 {rate:.0f} images a second" for rate in per_second)


def _claims(register):
    """What became of the tests of claims that ran, claims named. register : of `claims.register`"""
    ran, words = register[register["effect"].notna()], []
    said = {"supported": "support", "refuted": "refute", "depends": "depend on epochs in", "untested:": "cannot test"}
    for verdict, of_it in ran.groupby(ran["verdict"].str.partition(" ")[0]):
        claims = "; ".join(f"*{claim}*" for claim in of_it["claim"].unique())
        words += [f"{len(of_it)} {said[verdict]} {claims}"] if verdict in said else []
    return (
        f"Of {len(register)} tests of its {register['claim'].nunique()} claims {len(ran)} could be run here, with rows "
        f"and weights at hand: {', '.join(words) or 'none decides one'}; the others stay open."
    )


def _share(value):
    return tables.number(100 * value, ".0f") + " %"


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
