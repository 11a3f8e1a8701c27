"""List the settings that the runs were trained with, beside the paper's Table 2."""

from collections.abc import Iterable

import pandas as pd

from closer_look.analysis.tables import write
from closer_look.jobs.job import job
from closer_look.jobs.manifest import read_manifest

CAPTION = (
    "Table 2. Hyper-parameters, as recorded by the runs. What has no value of ours is not a "
    "setting; what has none of the paper's is a setting that the paper does not state."
)


def table2(manifests: Iterable[dict], paper: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's table with a column for each variant, and rows for our other settings.

    `manifests` are those of trainings; `paper` has the columns parameter, paper and setting. Where
    the runs of a variant differ, all their values are there.
    """
    rows = []
    for manifest in manifests:
        effective = manifest["settings"] | {"max_tokens": manifest["max_tokens"]}
        texts = {name: _text(value) for name, value in effective.items()}
        rows.append({"variant": manifest["run"].split("/")[3], **texts})
    by_variant = pd.DataFrame(rows).groupby("variant", sort=False)
    ours = by_variant.agg(lambda values: " / ".join(dict.fromkeys(values.dropna()))).T
    others = ours[~ours.index.isin(paper["setting"])].rename_axis("parameter").reset_index()
    return pd.concat([paper.join(ours, on="setting"), others]).drop(columns="setting")


def _text(value) -> str:
    """Return a setting as the paper writes it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {entry}" for name, entry in value.items())
    return str(tuple(value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    with job(snakemake):
        manifests = [read_manifest(path) for path in snakemake.input.manifests]
        paper = pd.read_csv(snakemake.input.paper, dtype=str)
        write(table2(manifests, paper), CAPTION, **dict(snakemake.output.items()))
