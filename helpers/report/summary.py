"""The results table in short, a line a row: what README and the one-page report show."""

import pandas as pd

from helpers.analyses import tables


def by_recipe(table):
    """Return the rows of a results table, a line each: explained variance by either recipe, seeds, weights, cost.

    Parameters
    ----------
    table : results table of `tables.results_table`, or the CSV that notebook 4 made of it

    Returns
    -------
    pandas.DataFrame
        Index row; text in columns stage, published recipe, repaired recipe (mean [95 % interval], `tables.NOT_RUN`, why
        it is not compared, or nothing where the row has no such recipe), seeds, weights, epochs x images (of both
        recipes, where they differ), pixels and seconds a run.
    """
    lines = {}
    for row, recipes in table.groupby("row", sort=False):
        line = {"stage": str(recipes["stage"].iloc[0]), "published recipe": "", "repaired recipe": ""}
        line |= {f"{recipe['recipe']} recipe": _score(recipe) for recipe in recipes.to_dict("records")}
        ran = recipes[recipes["state"].str.startswith("run")]
        if len(ran):
            accident = ran["state"].str.startswith("run from random").any()
            line["weights"] = tables.ACCIDENT if accident else tables.weights_shown(ran["weights"].iloc[0])
            of_both = zip(ran["epochs"], ran["n_train"], strict=True)
            line["epochs x images"] = _either(f"{epochs:.0f} x {n_train:.0f}" for epochs, n_train in of_both)
            line["pixels"] = _either(ran["pixels"])
            line["seeds"] = _either(f"{seeds:.0f}" for seeds in ran["seeds"])
            line["seconds a run"] = f"{ran['seconds'].mean():.0f}"
        lines[row] = line
    frame = pd.DataFrame.from_dict(lines, orient="index").fillna("")
    frame.index.name = "row"
    columns = ["stage", "published recipe", "repaired recipe", "seeds", "weights", "epochs x images", "pixels"]
    return frame.reindex(columns=[*columns, "seconds a run"], fill_value="")


def _score(line):
    """Return the score of one row by one recipe as text; no number for one that was cut."""
    refused = line.get("refused")
    if isinstance(refused, str) and refused != tables.ACCIDENT:
        return f"{tables.NOT_COMPARED}{refused}"
    return tables.score(line) + (", over images alone" if line.get("seeds") == 1 else "")


def _either(texts):
    """Return what both recipes share, or of each its own."""
    return ", ".join(dict.fromkeys(texts))


def readme_block(table, made):
    """Return `by_recipe` as Markdown for the README.

    table : results table of notebook 4. made : how it was made, in words
    """
    frame = by_recipe(table).reset_index()
    frame = frame[["stage", *frame.columns.drop("stage")]]
    rows = [list(frame), ["---"] * frame.shape[1], *frame.to_numpy().tolist()]
    return "\n".join(
        [
            f"**{tables.SIMULATED}** Explained variance on val, mean over neurons and seeds, 95 % interval.\n",
            *(f"| {' | '.join(row)} |" for row in rows),
            f"\n{made}",
        ]
    )
