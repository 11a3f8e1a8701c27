"""Print what a workflow found: `python -m closer_look.summary [CONFIGFILE ...]`."""

from pathlib import Path

import pandas as pd

from lca.analysis.uncertainty import percent

from . import config as configuration
from . import config_file
from .analysis.claims.claim import PAPER
from .analysis.claims.verdicts import FAILS, HOLDS, UNDECIDED
from .config import Run
from .trees import Tree
from .vocabulary import OBJECTIVE_NAMES

RESULTS = Path("results")
VERBS = {HOLDS: "hold", FAILS: "fail", UNDECIDED: "are undecided"}
"""What several claims do."""


def summary(config: Tree, results: Path = RESULTS) -> list[str]:
    """Return the lines: how the main models did, whether their values add up, the verdicts."""
    runs = {
        OBJECTIVE_NAMES[run.objective].removesuffix(" LM").lower(): run
        for run in configuration.main_runs(config)
    }
    losses = [f"{name} {_loss(own_score(results, run))}" for name, run in runs.items()]
    shares = [
        f"{name} {sums(results / 'runs' / run.name)['share'].get('trapezoid', '–')}"
        for name, run in runs.items()
    ]
    return [  # at most 100 columns each
        f"Test loss, nats (unigrams'): {', '.join(losses)}",
        f"Trapezoid / loss change ± SE: {', '.join(shares)}",
        f"Claims by the trapezoid: {_verdicts(results / 'tables/claims.csv')}",
        f"Open {results}/report.html; figures and tables are in {results}/figures and "
        f"{results}/tables",
    ]


def own_score(results: Path, run: Run) -> pd.Series | None:
    """Return a run's row of `tables/scores.csv` on its own test split; None if it has none.

    Its `own loss` is the loss under fixed masks of a masked model, the loss of others.
    """
    scores = pd.read_csv(results / "tables/scores.csv")
    names = scores[list(Run._fields)].astype(str).agg("/".join, axis="columns")
    rows = scores[(names == run.name) & (scores["test set"] == "test")]
    rows = rows.assign(**{"own loss": rows["masked loss"].fillna(rows["loss"])})
    return None if rows.empty else rows.iloc[0]


def sums(folder: Path) -> pd.DataFrame:
    """Return a run's `summary.csv` by estimator, as far as it is of training text with dropout, the
    loss that gradients are of; `share`: how much of its change each found, as text."""
    rows = pd.read_csv(folder / "summary.csv").query("reference == 'dropout'")
    shares = [
        percent(1 + gap, error) for gap, error in zip(rows["gap"], rows["gap_se"], strict=True)
    ]
    return rows.assign(share=shares).set_index("estimator")


def _loss(score: pd.Series | None) -> str:
    """Return a model's loss beside that of word frequencies alone."""
    if score is None:
        return "not scored"
    return f"{score['own loss']:.2f} ({score['unigram loss']:.2f})"


def _verdicts(claims: Path) -> str:
    """Return how many of the paper's claims got which verdict."""
    table = pd.read_csv(claims, dtype={"claim": str})
    ours = (table["estimator"] == "trapezoid") & (table["group"] == PAPER)
    verdicts = table[ours].groupby("claim")["verdict"].first()
    counts = verdicts.value_counts()
    phrases = [f"{counts.get(name, 0)} {verb}" for name, verb in VERBS.items()]
    return ", ".join(phrases) + f" ({claims.with_suffix('.md')})"


if __name__ == "__main__":
    for line in summary(config_file.of_command_line(__doc__)):
        print(line)
