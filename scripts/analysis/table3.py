"""Count the sentence pairs of all data sets, beside the paper's Table 3."""

from collections.abc import Iterable

import pandas as pd

from closer_look.analysis.tables import write
from closer_look.jobs.job import job
from closer_look.jobs.manifest import read_manifest

CAPTION = (
    "Table 3. Sentence pairs of the data sets. A language model is trained on one side. What has "
    "none of our numbers is not part of this configuration."
)


def table3(counts: Iterable[tuple[str, str, dict]], paper: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's table with our numbers, and rows for our other data sets.

    `counts` has corpus, pair and the sentence pairs of each split; `paper` has the columns
    dataset, languages, train, valid, test, and corpus and pair as ours are called.
    """
    columns = {name: f"{name}, ours" for name in ("train", "valid", "test")}
    ours = pd.DataFrame(
        [(corpus, pair, *(sizes[name] for name in columns)) for corpus, pair, sizes in counts],
        columns=["corpus", "pair", *columns.values()],
    ).set_index(["corpus", "pair"])
    others = ours[~ours.index.isin(paper.set_index(["corpus", "pair"]).index)].reset_index()
    others = others.rename(columns={"corpus": "dataset", "pair": "languages"})
    rows = pd.concat([paper.join(ours, on=["corpus", "pair"]), others])
    rows = rows.rename(columns={name: f"{name}, paper" for name in columns})
    sides = [f"{name}, {whose}" for name in columns for whose in ("ours", "paper")]
    return rows[["dataset", "languages", *sides]].astype(dict.fromkeys(columns.values(), "Int64"))


if __name__ == "__main__":
    with job(snakemake):
        manifests = map(read_manifest, snakemake.input.manifests)
        counts = [
            (corpus, pair, manifest["pairs"])
            for (corpus, pair), manifest in zip(snakemake.params.pairs, manifests, strict=True)
        ]
        paper = pd.read_csv(snakemake.input.paper, dtype=str)
        write(table3(counts, paper), CAPTION, **dict(snakemake.output.items()))
