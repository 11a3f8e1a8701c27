"""Print what a workflow found: `python -m closer_look.summary [CONFIGFILE ...]`."""

import sys
from pathlib import Path

import pandas as pd

from closer_look import config as configuration
from closer_look.analysis.claims.claim import PAPER
from closer_look.training.progress import configuration as read_configuration
from lca.analysis.uncertainty import percent

RESULTS = Path("results")
NAMES = {"mlm": "masked", "clm": "causal", "mt": "translation"}
VERDICTS = {"holds": "hold", "fails": "fail", "undecided": "are undecided"}


def summary(config: dict, results: Path = RESULTS) -> list[str]:
    """Return the lines: how the main models did, whether their values add up, the verdicts."""
    folders = {
        NAMES[run.objective]: results / "runs" / run.name for run in configuration.main_runs(config)
    }
    losses = [f"{name} {_loss(folder)}" for name, folder in folders.items()]
    shares = [f"{name} {_share(folder)}" for name, folder in folders.items()]
    return [
        f"Held-out loss, nats per token: {'; '.join(losses)}",
        f"Trapezoid, of the true loss change: {', '.join(shares)} (± one standard error)",
        f"The paper's claims, by the trapezoid: {_verdicts(results / 'tables/claims.csv')}",
        f"Open {results}/report.html; figures and tables are in {results}/figures and "
        f"{results}/tables",
    ]


def _loss(folder: Path) -> str:
    """Return a model's loss on its own test split beside that of word frequencies alone."""
    scores = pd.read_parquet(folder / "scores.parquet").set_index("test_set")
    if "test" not in scores.index:
        return "not scored"
    own = scores.loc["test"]
    loss = own["masked_loss"] if pd.notna(own["masked_loss"]) else own["loss"]
    return f"{loss:.2f} (unigrams {own['unigram_loss']:.2f})"


def _share(folder: Path) -> str:
    """Return the trapezoid's sum as a share of the loss change on training text with dropout."""
    rows = pd.read_csv(folder / "summary.csv")
    found = rows[(rows["estimator"] == "trapezoid") & (rows["reference"] == "dropout")]
    return percent(1 + found["gap"].iloc[0], found["gap_se"].iloc[0]) if len(found) else "–"


def _verdicts(claims: Path) -> str:
    """Return how many of the paper's claims got which verdict."""
    table = pd.read_csv(claims, dtype={"claim": str})
    ours = (table["estimator"] == "trapezoid") & (table["group"] == PAPER)
    verdicts = table[ours].groupby("claim")["verdict"].first()
    counts = verdicts.value_counts()
    found = [f"{counts.get(name, 0)} {verb}" for name, verb in VERDICTS.items()]
    return ", ".join(found) + f" ({claims.with_suffix('.md')})"


if __name__ == "__main__":
    for line in summary(read_configuration(sys.argv[1:])):
        print(line)
