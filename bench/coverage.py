"""Do the 95 % intervals of the claims cover the truth? On curves whose truth is known.

`python -m bench.coverage --trainings 200` prints, for a short and a long training, how often the
interval of an inequality covers the value that it has without noise, by claim; and how many of the
verdicts that are not "undecided" are wrong. Not part of `make bench`: it takes half an hour.

Every block has a rate of its own that rises in the warm-up, a tenth of the training, and then falls
exponentially. The noise of an update is as large as the learning rate, which falls linearly; a
third of its variance is shared by all blocks, and a third stays the same for some updates, as the
trapezoid does over a stride. Besides, as the trapezoid's, contributions are the mean of groups of
text; of how much a group's differ a third of the variance is shared by all blocks.
"""

import argparse
from collections import defaultdict
from collections.abc import Collection

import numpy as np
import pandas as pd

from closer_look.analysis.claims.claim import in_order
from closer_look.analysis.claims.evidence import trials
from closer_look.analysis.claims.verdicts import UNDECIDED, Inequality, _combine
from closer_look.vocabulary import ATTENTION, COMPONENTS, FACETS, FEED_FORWARD
from lca.analysis.uncertainty import apart
from lca.trapezoid import GROUPS

TRAININGS = {"short": (200, 200, 8), "long": (6000, 1000, 32)}
"""Updates, windows, and updates in a row that share noise."""

OF_NOISE_TOO = ("15", "17", "20")
"""Claims with values that noise is part of, how curves swing or heads differ: the truth is their
mean over trainings."""

SKIPPED = ("21", "22", "23", "24a", "24b")
"""Claims whose intervals are not those of the bootstrap."""

HEADS, WARM_UP = 4, 0.1


class Training:
    """One of each objective: the blocks, and their contributions without noise."""

    def __init__(
        self, updates: int, windows: int, together: int, noise: float, text: float, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        self.ends = np.linspace(0, updates, windows + 1).round()[1:].astype(int)
        self.together = max(1, together * windows // updates)
        self.noise, self.text = noise, text
        self.objectives = {
            objective: self._blocks(stacks, windows, rng)
            for objective, stacks in {
                "mlm": {"encoder": 12},
                "clm": {"decoder": 12},
                "mt": {"encoder": 6, "decoder": 6},
            }.items()
        }

    def _blocks(self, stacks, windows, rng):
        layered = [
            (stack, layer + 1, name, head)
            for stack, layers in stacks.items()
            for layer in range(layers)
            for name in COMPONENTS
            for head in range(HEADS + 1 if name in ATTENTION else 1)
        ]
        blocks = [*layered, (list(stacks)[-1], 0, "embeddings", 0)]
        time = (np.arange(windows) + 0.5) / windows
        fall = np.exp(rng.uniform(np.log(0.05), np.log(0.5), len(blocks)))[:, None]
        rates = np.minimum(1, time / WARM_UP) * (np.exp(-time / fall) / fall + 0.2)
        names = [name for _, _, name, _ in blocks]
        size = np.where(np.isin(names, FEED_FORWARD), 8, 1) * rng.gamma(4, 0.25, len(blocks))
        means = size[:, None] * rates / windows
        return pd.DataFrame(blocks, columns=["stack", "layer", "component", "head"]), means

    def tables(self, rng: np.random.Generator | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return curves and head curves; without noise if there is no generator."""
        frames = []
        for objective, (blocks, means) in self.objectives.items():
            groups = np.zeros((*means.shape, GROUPS))
            if rng is not None:
                means = means + self._deviations(means, rng)
                groups = self._groups(means, rng)
            sums = means + groups.mean(axis=-1)
            widths = np.diff(self.ends, prepend=0)
            frame = blocks.loc[blocks.index.repeat(len(widths))].reset_index(drop=True)
            frame["update"] = np.tile(self.ends, len(blocks))
            frame["sum"] = (-sums / widths).ravel()
            moved = np.moveaxis(apart(groups, np.ones(GROUPS)), -1, 0)
            for number, group in enumerate(moved if groups.any() else []):
                frame[f"apart_{number + 1}"] = (-group / widths).ravel()
            run = dict(zip(FACETS, ("toy", objective, "en", "base", 1), strict=True))
            frames.append(frame.assign(high=np.nan, estimator="trapezoid", **run))
        rows = pd.concat(frames, ignore_index=True)
        return rows[rows["head"] == 0].drop(columns="head"), rows[rows["head"] > 0]

    def _deviations(self, means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        windows = means.shape[1]
        groups = -(-windows // self.together)
        lasting = np.repeat(rng.standard_normal((len(means), groups)), self.together, axis=1)
        lasting = lasting[:, :windows] / self.together**0.5  # as much of the sum as the others
        unit = rng.standard_normal(means.shape) + lasting + rng.standard_normal(windows)
        time = (np.arange(windows) + 0.5) / windows
        rate = np.minimum(time / WARM_UP, (1 - time) / (1 - WARM_UP))
        unit *= rate / np.sqrt(3 * (rate**2).sum())  # a variance of 1, summed over the training
        return self.noise * means.sum(axis=1, keepdims=True) * unit

    def _groups(self, means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return by how much each group of text differs, (block, window, group)."""
        own, shared = rng.standard_normal((len(means), GROUPS)), rng.standard_normal(GROUPS)
        unit = (own * 2**0.5 + shared) / 3**0.5
        return self.text * GROUPS**0.5 * means[:, :, None] * unit[:, None]


def inequalities(
    tables: tuple[pd.DataFrame, pd.DataFrame], resamples: int, numbers: Collection[str] | None
) -> dict[tuple[str, str], Inequality]:
    """Return all inequalities that the bootstrap has an interval for, by claim and label."""
    (evidence,) = trials(*tables, resamples)
    return {
        (claim.number, inequality.label): inequality
        for claim in in_order(numbers)
        if claim.number not in SKIPPED
        for inequality in (_combine(part) for part in claim.parts(evidence))
    }


def simulate(
    kind: str,
    noise: float,
    trainings: int,
    text: float = 0.0,
    resamples: int = 199,
    seed: int = 1,
    numbers: Collection[str] | None = None,
) -> pd.DataFrame:
    """Return a row for each inequality: coverage, and shares of verdicts decided and wrong.

    `kind` is one of `TRAININGS`; `noise` and `text` are the standard errors of a contribution
    relative to it, from the updates and from the groups of text.
    """
    training = Training(*TRAININGS[kind], noise, text, seed)
    true = inequalities(training.tables(None), 1, numbers)
    rng = np.random.default_rng(seed)
    evaluated = defaultdict(list)
    for _ in range(trainings):
        for key, one in inequalities(training.tables(rng), resamples, numbers).items():
            evaluated[key].append(one)
    return pd.DataFrame(
        [_row(key, true[key], each) for key, each in evaluated.items() if key in true]
    )


def _row(key: tuple[str, str], true: Inequality, evaluated: list[Inequality]) -> dict:
    """Return how often the intervals cover the truth, and what the verdicts are worth."""
    values = np.array([one.value for one in evaluated])
    truth = true.value
    if key[0] in OF_NOISE_TOO and np.isfinite(values).all():
        truth = values.mean()
    holds = true._replace(value=truth, low=truth, high=truth).verdict
    decided = [one.verdict for one in evaluated if one.verdict != UNDECIDED]
    return {
        "claim": key[0],
        "inequality": key[1],
        "truth": truth,
        "mean": values.mean(),
        "covered": np.mean([one.low <= truth <= one.high for one in evaluated]),
        "decided": len(decided) / len(evaluated),
        "wrong": sum(verdict != holds for verdict in decided) / len(evaluated),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=200)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1, 0.5])
    parser.add_argument("--text", type=float, default=0.1, help="standard error from the groups")
    parser.add_argument("--kinds", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--all", action="store_true", help="a row for each inequality")
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        for noise in arguments.noise:
            rows = simulate(kind, noise, arguments.trainings, arguments.text)
            by = ["claim", "inequality"] if arguments.all else ["claim"]
            table = rows.groupby(by, sort=False)[["covered", "decided", "wrong"]].mean()
            table["least covered"] = rows.groupby(by, sort=False)["covered"].min()
            table.loc["all"] = [
                *rows[["covered", "decided", "wrong"]].mean(),
                rows["covered"].min(),
            ]
            print(f"\n{kind} trainings, standard errors of {noise:.0%} and {arguments.text:.0%}:\n")
            print(table.round(3).to_string(), flush=True)


if __name__ == "__main__":
    main()
