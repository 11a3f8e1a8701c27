"""Say in Markdown what the results say: `python -m closer_look.answer [CONFIGFILE ...]`.

The README holds what this prints of the results that are kept, and a test compares the two.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from . import config as configuration
from . import config_file
from .analysis.claims.claim import PAPER
from .analysis.claims.verdicts import FAILS, HOLDS, NOT_APPLICABLE, UNDECIDED
from .analysis.frames import read
from .analysis.similarity import correlations, pairs
from .config import Run
from .summary import VERBS, own_score, sums
from .trees import Tree
from .vocabulary import MODEL, OBJECTIVE_NAMES

RESULTS = Path("results")
AGREEMENT = Path("tables/agreement.csv")
OWN, NEXT, ADDS_UP = "own_batch", "next_batch", "trapezoid"

PROBE = "a second probe, on other text"


def answer(config: Tree, results: Path = RESULTS) -> str:
    """Return the main models, whether their values add up, and what became of the claims.

    Read from `results`: the main runs' `summary.csv`, `tables/scores.csv`, `tables/claims.csv` and,
    where there are several variants, `tables/verdicts.csv` and the runs' `totals.parquet`.
    """
    claims = pd.read_csv(results / "tables/claims.csv", dtype={"claim": str})
    claims = claims[claims["group"] == PAPER].drop_duplicates(["claim", "estimator"])
    verdicts = claims.pivot(index="claim", columns="estimator", values="verdict")
    statements = claims.drop_duplicates("claim").set_index("claim")["statement"]
    counts = pd.DataFrame({name: verdicts[name].value_counts() for name in (OWN, NEXT, ADDS_UP)})
    by_variant = results / "tables/verdicts.csv"
    others = configuration.variants(config)[1:]
    return "\n\n".join(
        [
            _models(configuration.all_main_runs(config), results),
            _counts(counts.fillna(0).astype(int), len(verdicts)),
            "\n".join(_by_verdict(verdicts.loc[statements.index], statements)),
            *(_by_variant(pd.read_csv(by_variant, dtype=str)) if others else []),
            *([_kinship(config, results)] if others else []),
        ]
    )


def misplaced(agreement: Path) -> str:
    """Return a table of how much of the whole each estimator allocates to the wrong blocks.

    `agreement` is `tables/agreement.csv`: intervals are of 95 %, see `analysis.agreement`.
    """
    rows = pd.read_csv(agreement).query("level == 'block'")
    percents = 100 * rows[["distance", "distance_low", "distance_high"]]
    texts = [f"{value:.1f} % ({low:.1f}–{high:.1f})" for value, low, high in percents.to_numpy()]
    cells = rows.assign(cell=texts).pivot(index="estimator", columns="objective", values="cell")
    table = cells.loc[rows["estimator"].unique(), list(OBJECTIVE_NAMES)]
    table.index = table.index.map(lambda name: PROBE if name == "held_out" else f"`{name}`")
    return table.rename(columns=OBJECTIVE_NAMES).to_markdown(disable_numparse=True)


def _models(runs: list[Run], results: Path) -> str:
    """Return the table of the models: how good they are, and what each estimator sums up to."""
    rows = []
    for run in runs:
        score, estimators = own_score(results, run), sums(results / "runs" / run.name)
        rows.append(
            {
                "": OBJECTIVE_NAMES[run.objective] + _other(run, runs[0].variant),
                "test loss (unigrams)": "not scored" if score is None else _losses(score),
                "BLEU": "" if score is None or pd.isna(score["BLEU"]) else f"{score['BLEU']:.1f}",
                "training loss fell by": f"{-estimators['change'].iloc[0]:.2f}",
                **{f"`{name}` finds": estimators["share"][name] for name in (OWN, NEXT, ADDS_UP)},
            }
        )
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _other(run: Run, first: str) -> str:
    """Return what to say of a run's variant besides: nothing of the first."""
    return "" if run.variant == first else f", `{run.variant}`"


def _losses(score: pd.Series) -> str:
    return f"{score['own loss']:.2f} ({score['unigram loss']:.2f})"


def _counts(counts: pd.DataFrame, claims: int) -> str:
    """Return how many of the paper's claims hold, fail and are undecided, by each estimator."""
    verbs = VERBS | {NOT_APPLICABLE: "cannot be tested"}
    table = counts.reindex(list(verbs), fill_value=0).rename(verbs).T
    table.index = table.index.map(lambda name: f"by `{name}`")
    table.index.name = f"Of the paper's {claims} claims"
    return table.to_markdown()


def _by_verdict(verdicts: pd.DataFrame, statements: pd.Series) -> Iterator[str]:
    """Yield a line for each pair of verdicts, by the paper's estimator and by the one that adds up,
    with the claims that have it: in words those that hold or about which the two disagree."""
    verbs = {HOLDS: "holds", FAILS: "fails", UNDECIDED: "is undecided"}
    for own, first in verbs.items():
        for other, second in verbs.items():
            both = verdicts[(verdicts[OWN] == own) & (verdicts[ADDS_UP] == other)].index
            if len(both):
                how = "either way" if own == other else f"by `{OWN}`, {second} by `{ADDS_UP}`"
                texts = [f"({claim}) {statements[claim]}" for claim in both]
                is_short = own == other != HOLDS
                listed = ", ".join(both) + "." if is_short else " ".join(texts)
                yield f"- **{first.capitalize()} {how}:** {listed}"


def _by_variant(verdicts: pd.DataFrame) -> Iterator[str]:
    """Yield, for each variant but the first, what becomes of the claims about single models there,
    by the estimator that adds up."""
    verdicts = verdicts[(verdicts["estimator"] == ADDS_UP) & (verdicts["group"] == PAPER)]
    table = verdicts.pivot(index="claim", columns="variant", values="verdict")
    table = table.loc[verdicts["claim"].unique(), verdicts["variant"].unique()]
    first, *others = table.columns
    for variant in others:
        changed = table[table[first] != table[variant]]
        changes = [f"({claim}) {row[first]} → {row[variant]}" for claim, row in changed.iterrows()]
        same = (
            f"{len(table) - len(changed)} of {len(table)} verdicts by `{ADDS_UP}` stay as they are"
        )
        yield "; ".join([f"With `{variant}`, {same}", *changes]) + "."


def _kinship(config: Tree, results: Path) -> str:
    """Return how alike the shapes of two models are that share the objective, what the variants
    change, or neither."""
    runs = configuration.all_main_runs(config)
    varied = {run[:-1]: str(configuration.varied(config, run)) for run in runs}
    keys = [f"`{key}`" for key in configuration.varied(config, runs[0])]
    several = len(keys) > 1
    name = f"all of {', '.join(keys)}" if several else keys[0]
    again = "all of these" if several else keys[0]
    tables = [results / "runs" / run.name / "totals.parquet" for run in runs]
    means = {}
    for estimator in (OWN, ADDS_UP):
        models, r = correlations(read(tables, estimator))
        labels = [varied[model] for model in models[MODEL].itertuples(index=False, name=None)]
        found = pairs(r, objective=models["objective"].to_numpy(), varied=np.array(labels))
        means[estimator] = found.groupby(["objective", "varied"])["similarity"].mean()
    shared = {
        (True, False): f"with the objective in common but not {name}",
        (False, True): f"with {again} in common but not the objective",
        (False, False): "with neither in common",
    }
    phrases = [
        f"r = {means[ADDS_UP][key]:.2f} ({means[OWN][key]:.2f}) {words}"
        for key, words in shared.items()
        if key in means[OWN]
    ]
    listed = ", ".join(phrases).replace("-", "−")
    return f"Shapes over the layers of two models by `{ADDS_UP}` (`{OWN}`) correlate by {listed}."


if __name__ == "__main__":
    print(answer(config_file.of_command_line(__doc__)))
    if (RESULTS / AGREEMENT).exists():
        print(misplaced(RESULTS / AGREEMENT))
