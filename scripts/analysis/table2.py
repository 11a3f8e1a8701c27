"""List the settings that the runs were trained with, beside the paper's Table 2."""

import shlex
from collections.abc import Iterable

import pandas as pd

from closer_look.analysis.tables import write
from closer_look.jobs.job import job
from closer_look.jobs.manifest import read_manifest

CAPTION = (
    "Table 2. Hyper-parameters, as recorded by the runs. What has no value of ours is not a "
    "setting; what has none of the paper's is a setting that the paper does not state. Where the "
    "objectives may differ in more than what they predict, each has its value; the last rows are "
    "what no option of fairseq's makes equal."
)


def table2(manifests: Iterable[dict], paper: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's table with a column for each variant, and rows for our other settings.

    `manifests` are those of trainings; `paper` has the columns parameter, paper and setting. Where
    the runs of a variant differ, all their values are there, by objective in the rows of `built`.
    """
    rows, differences = [], {}
    for manifest in manifests:
        _, objective, _, variant, _ = manifest["run"].split("/")
        options = parse(manifest["options"])
        effective = manifest["settings"] | {
            "max_tokens": options["max-tokens"],
            "update_freq": options["update-freq"],
            "lr_scheduler": options["lr-scheduler"].replace("_", " "),
        }
        architecture = built(objective, options)
        texts = {k: _text(value) for k, value in effective.items() if k not in architecture}
        rows.append({"variant": variant, **texts})
        for name, value in architecture.items():
            differences.setdefault(name, {}).setdefault(variant, {})[objective] = value
    by_variant = pd.DataFrame(rows).groupby("variant", sort=False)
    ours = by_variant.agg(lambda values: " / ".join(dict.fromkeys(values.dropna()))).T
    others = ours[~ours.index.isin(paper["setting"])].rename_axis("parameter").reset_index()
    texts = pd.DataFrame(differences).map(_text).T.rename_axis("parameter").reset_index()
    return pd.concat([paper.join(ours, on="setting"), others, texts]).drop(columns="setting")


def parse(options: str) -> dict[str, str]:
    """Return fairseq-train's options by their names; those without a value have an empty one."""
    pairs = (option.removeprefix("--").partition("=") for option in shlex.split(options))
    return {name: value for name, _, value in pairs}


def built(objective: str, options: dict[str, str]) -> dict[str, str]:
    """Return what fairseq builds of the options of an objective where its architectures differ.

    As of fairseq 0.12: `RobertaModel`, `TransformerLanguageModel` and `TransformerModel`.
    """
    is_masked = objective == "mlm"
    stack = "encoder" if is_masked else "decoder"
    width = int(options[f"{stack}-embed-dim"])
    is_pre = f"{stack}-normalize-before" in options
    if is_masked:
        is_tied = "untie-weights-roberta" not in options
        has_norm = options["arch"] == "roberta"  # and roberta_prenorm has not
        is_learned, is_scaled = True, False
    else:
        is_tied = "share-decoder-input-output-embed" in options
        has_norm = "layernorm-embedding" in options
        is_learned = "decoder-learned-pos" in options
        is_scaled = "no-scale-embedding" not in options
    return {
        "norm": "pre" if is_pre else "post",
        "tie_output": _yes(is_tied),
        "positions": "learned" if is_learned else "sinusoidal",
        "embedding_norm": _yes(has_norm),
        "scale_embeddings": _yes(is_scaled),
        "sample_break": options.get("sample-break-mode", "eos"),
        "norm after the last layer": _yes(is_pre),
        "output head": "dense + norm + matrix + bias" if is_masked else "matrix",
        "initial embeddings": f"normal {0.02 if is_masked else width**-0.5:.2g}",
        "initial attention": "normal 0.02" if is_masked else "Xavier's uniform",
        "initial w1, w2": "normal 0.02" if is_masked else "PyTorch's uniform",
    }


def _yes(value: bool) -> str:
    return "yes" if value else "no"


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
