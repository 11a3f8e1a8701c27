"""Made-up tables of an experiment, as the rules leave them, for tests of the report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from closer_look.config import Run
from scripts.training.score import COLUMNS

ESTIMATORS = {"own_batch": 4.0, "next_batch": 0.8, "trapezoid": 1.0}
"""What each estimator's sum is of the true change of the loss."""

RUNS = [
    Run("toy", "mlm", "en", "base", 1),
    Run("toy", "mlm", "et", "base", 1),
    Run("toy", "clm", "en", "base", 1),
    Run("toy", "mt", "en-de", "base", 1),
]
PER_LAYER = {"key": 1, "query": 1, "value": 2, "out": 2, "w1": 20, "w2": 25, "norms": 1}
HEADED = ("key", "query", "value", "out")
FIRST, LAST = 8.0, 5.0  # loss


def blocks(objective: str, layers: int) -> pd.DataFrame:
    """Return a row for each block: stack, layer, component, weight (share in the total)."""
    stacks = {"mlm": ["encoder"], "clm": ["decoder"], "mt": ["encoder", "decoder"]}[objective]
    rows = [(stacks[-1], 0, "embeddings", 30 * layers)]
    for stack in stacks:
        for layer in range(1, layers // len(stacks) + 1):
            rows += [(stack, layer, name, size * layer) for name, size in PER_LAYER.items()]
            if objective == "mt" and stack == "decoder":
                rows += [(stack, layer, f"cross_{name}", 1) for name in HEADED]
    frame = pd.DataFrame(rows, columns=["stack", "layer", "component", "weight"])
    return frame.assign(weight=frame["weight"] / frame["weight"].sum())


def tables(
    run: Run, updates: int = 400, windows: int = 100, layers: int = 4, heads: int = 2
) -> dict[str, pd.DataFrame]:
    """Return all tables of a run, by name, in which the loss decays from FIRST to LAST."""
    rng = np.random.default_rng([len(run.name), *run.name.encode()])
    width = -(-updates // windows)
    ends = np.append(np.arange(width, updates, width), updates)
    decay = np.exp(-5 * np.arange(updates) / updates)
    falls = np.add.reduceat(decay, np.append(0, ends[:-1])) / decay.sum() * (LAST - FIRST)
    per_update = falls / np.diff(ends, prepend=0)
    labels = blocks(run.objective, layers)
    frames = {name: [] for name in ("totals", "curves", "milestones", "head_curves")}
    for estimator, share in ESTIMATORS.items():
        sums = share * np.outer(labels["weight"], per_update)
        sums *= 1 + 0.3 * rng.standard_normal(sums.shape)
        made = _of_estimator(labels.drop(columns="weight"), sums, ends, heads, estimator, rng)
        for name, frame in made.items():
            frame.insert(0, "estimator", estimator)
            frames[name].append(frame)
    found = {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}
    loss = FIRST + np.cumsum(falls)
    found["losses"] = pd.DataFrame(
        {
            "update": ends,
            "loss": loss,
            "low": loss - 0.2,
            "high": loss + 0.2,
            "learning_rate": 1e-3 * np.minimum(1, ends / updates * 10),
            "gradient_norm": 1 + rng.random(len(ends)),
        }
    )
    found["completeness"] = _completeness(ends, loss)
    found["probes"] = _probes(labels, ends, per_update)
    found["scores"] = scores(run.objective)
    return {name: _with_run(frame, run) for name, frame in found.items()}


def scores(objective: str) -> pd.DataFrame:
    """Return the scores of a decent model."""
    row = {"test_set": "test", "sentences": 10, "words": 100, "tokens": 200, "unigram_loss": 7.0}
    row["masked_loss" if objective == "mlm" else "loss"] = LAST
    if objective == "mt":
        row |= {"bleu": 25.0, "chrf": 50.0}
    return pd.DataFrame([row], columns=list(COLUMNS)).astype(COLUMNS)


def _of_estimator(labels, sums, ends, heads, estimator, rng) -> dict[str, pd.DataFrame]:
    """Return the tables of one estimator; `sums` is (blocks, windows), per update."""
    widths = np.diff(ends, prepend=0)
    curves = labels.loc[labels.index.repeat(len(ends))].reset_index(drop=True)
    spread = np.abs(sums) * rng.random(sums.shape)
    values = {"sum": sums, "low": sums - spread, "high": sums + spread}
    shares = {"positive": spread, "helping": 0.5 + 0.1 * spread, "hurting": 0.5 - 0.1 * spread}
    if estimator == "trapezoid":
        shares = dict.fromkeys(shares, np.full_like(sums, np.nan))
    curves["update"] = np.tile(ends, len(labels))
    curves = curves.assign(**{name: array.ravel() for name, array in (values | shares).items()})

    headed = labels[labels["component"].str.removeprefix("cross_").isin(HEADED)]
    by_head = headed.loc[headed.index.repeat(heads)].reset_index(names="block")
    by_head["head"] = np.tile(np.arange(1, heads + 1), len(headed))
    parts = sums[by_head["block"]] * (0.5 + by_head["head"].to_numpy()[:, None]) / heads
    by_head = by_head.drop(columns="block")
    group = -(-len(ends) // 100)  # at most 100 windows
    head_ends = ends[group - 1 :: group]
    head_curves = by_head.loc[by_head.index.repeat(len(head_ends))].reset_index(drop=True)
    head_curves["update"] = np.tile(head_ends, len(by_head))
    head_curves["sum"] = parts.reshape(len(parts), -1, group).mean(axis=-1).ravel()

    total = sums @ widths
    whole = labels.assign(head=0, elements=1000, lca=total, se=0.05 * np.abs(total))
    lca = parts @ widths
    totals = [whole, by_head.assign(elements=1000 // heads, lca=lca, se=0.1 * np.abs(lca))]
    milestones = labels.assign(
        total=total,
        positive_updates=rng.integers(0, 50, len(labels)),
        last_positive=ends[-1] // 2,
        largest=spread.max(axis=1),
        t50=pd.array([ends[-1] // 4, *[None] * (len(labels) - 1)], dtype="Int32"),
        t90=pd.array([ends[-1]] * len(labels), dtype="Int32"),
    )
    return {
        "totals": pd.concat(totals, ignore_index=True),
        "curves": curves,
        "milestones": milestones,
        "head_curves": head_curves,
    }


def _completeness(ends: np.ndarray, loss: np.ndarray) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "reference": reference,
                "estimator": estimator,
                "update": [0, *ends],
                "loss": [FIRST, *loss],
                "change": [0.0, *(loss - FIRST)],
                "change_se": 0.03 if reference == "dropout" else np.nan,
                "lca": [0.0, *(share * (loss - FIRST))],
                "lca_se": 0.09 * share,
            }
        )
        for reference in ("dropout", "train", "held_out")
        for estimator, share in ESTIMATORS.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _probes(labels: pd.DataFrame, ends: np.ndarray, per_update: np.ndarray) -> pd.DataFrame:
    """Return a probe's values at every fourth window's end."""
    frames = [
        labels.assign(set=set_, update=ends[at], lca=scale * labels["weight"] * per_update[at])
        for set_, scale in (("train", 1.0), ("held_out", 0.9))
        for at in range(0, len(ends), 4)
    ]
    columns = ["set", "update", "stack", "layer", "component", "lca"]
    return pd.concat(frames, ignore_index=True)[columns]


def _with_run(frame: pd.DataFrame, run: Run) -> pd.DataFrame:
    for position, (facet, value) in enumerate(run._asdict().items()):
        frame.insert(position, facet, value)
    return frame


def attempt(hour: int, finished: str | None, from_update: int) -> dict:
    """Return one of the attempts at a training."""
    return {
        "started": f"2024-05-01T{hour}:00:00+00:00",
        "finished": finished,
        "host": "laptop",
        "from_update": from_update,
        "devices": ["Some CPU"],
        "code": {"commit": "c0ffee" * 6, "modified": False, "sha256": "2" * 64},
    }


def manifest(run: Run, updates: int = 400) -> dict:
    """Return a run's manifest, as training leaves it."""
    return {
        "run": run.name,
        "settings": {"layers": 4, "heads": 2, "lr": 0.001, "total_updates": updates},
        "data": {"train.bin": "0" * 64},
        "attempts": [
            attempt(10, None, 0),
            attempt(11, "2024-05-01T11:10:00+00:00", 100),
            attempt(12, "2024-05-01T12:20:00+00:00", 200),
        ],
        "devices": 0,
        "max_tokens": 2048,
        "python": "3.11.9",
        "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
        "sha256": {"log": "1" * 64},
    }


def claims() -> pd.DataFrame:
    """Return verdicts: the estimators agree on claim 1, disagree on 2; 3 is not applicable."""
    verdicts = {
        1: ("Feed-forward an order above attention", "≥", 10, ["holds", "holds", "holds"]),
        2: ("Nothing hurts <on the whole>", ">", 0, ["holds", "fails", "fails"]),
        3: ("Earlier layers converge first", "", None, ["not applicable"] * 3),
    }
    rows = []
    for claim, (statement, relation, threshold, by_estimator) in verdicts.items():
        for estimator, verdict in zip(ESTIMATORS, by_estimator, strict=True):
            row = {"claim": claim, "section": "4.1", "statement": statement}
            row |= {"formula": f"H[{claim}] {relation} {threshold}", "estimator": estimator}
            row |= {"verdict": verdict, "relation": relation, "threshold": threshold}
            if verdict == "not applicable":
                row |= {"reason": "3 layers are too few"}
            else:
                row |= {"part": "mlm", "value": 12.345678, "low": 11.0, "high": float("inf")}
                row |= {"interval": "updates"}
            rows.append(row | {"runs": "toy/mlm/en/base/1 toy/clm/en/base/1"})
    return pd.DataFrame(rows)


def write(folder: Path, runs: list[Run] = RUNS, **sizes: int) -> None:
    """Write the tables and manifests of runs, and the verdicts, to where the rules put them."""
    for run in runs:
        place = folder / "runs" / run.name
        place.mkdir(parents=True)
        for name, frame in tables(run, **sizes).items():
            frame.to_parquet(place / f"{name}.parquet", index=False)
        facts = manifest(run, sizes.get("updates", 400))
        (place / "run.json").write_text(json.dumps(facts))
    (folder / "tables").mkdir()
    claims().to_csv(folder / "tables/claims.csv", index=False)
