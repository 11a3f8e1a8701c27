"""What is known of every run, and what looks wrong with it: a figure of a bad run misleads."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import numpy as np
import pandas as pd

from lca.analysis.completeness import REFERENCES, summary
from lca.analysis.uncertainty import percent

from ..analysis.scores import MIN_LOSS_DROP, unlearned
from ..drawing.style import names
from ..trees import Tree
from ..vocabulary import FACETS, OBJECTIVE_NAMES

MAX_LOSS_RATIO = 1.2
"""A final loss this many times the median of its objective's: something went wrong."""

MIN_BLEU = 10
"""A BLEU below it: the translations are of hardly any use."""

MAX_GAP = 0.25
"""An estimator whose sum is further from the loss change, relative to it, does not add up."""


@dataclass(frozen=True, eq=False)
class RunSummary:
    """A run: its manifest, its training loss by windows, what its estimators sum up to, its scores.

    `scores` has a row for each test set, with `unigram_loss`, `loss` or `masked_loss`, and `bleu`.
    """

    label: str
    manifest: Tree
    losses: pd.DataFrame
    completeness: pd.DataFrame
    scores: pd.DataFrame

    @property
    def name(self) -> str:
        """The run's name in paths, such as europarl/mt/de-en/base/1."""
        return str(self.manifest["run"])

    @property
    def objective(self) -> str:
        """The training objective: mlm, clm or mt."""
        return self.name.split("/")[1]

    @property
    def updates(self) -> int:
        """Updates recorded."""
        return int(self.losses["update"].iloc[-1])

    @property
    def first_loss(self) -> float:
        """Mean training loss of the first window, in nats per predicted token."""
        return float(self.losses["loss"].iloc[0])

    @property
    def last_loss(self) -> float:
        """Mean training loss of the last window."""
        return float(self.losses["loss"].iloc[-1])

    @property
    def facts(self) -> Tree:
        """The manifest without the attempts."""
        return {key: value for key, value in self.manifest.items() if key != "attempts"}

    @property
    def attempts(self) -> list[Tree]:
        """The attempts at training it (see `provenance`), the last of which finished it."""
        attempts: list[Tree] = self.manifest["attempts"]
        return attempts

    @property
    def duration(self) -> timedelta:
        """Time that all attempts took together, without those that were killed."""
        times = [
            [datetime.fromisoformat(attempt[key]) for key in ("started", "finished")]
            for attempt in self.attempts
            if attempt["finished"]
        ]
        return sum((end - start for start, end in times), timedelta())

    @property
    def device(self) -> str:
        """What it was trained on in the end."""
        return hardware(self.attempts[-1])

    @property
    def shares(self) -> dict[str, float]:
        """The sum of each estimator as a share of the true loss change, at the last measurement."""
        return {name: 1 + row["gap"] for name, row in self._summed.items()}

    @property
    def share_texts(self) -> dict[str, str]:
        """The `shares` with their standard errors, such as "98.8 ± 2.7 %"."""
        return {name: percent(1 + row["gap"], row["gap_se"]) for name, row in self._summed.items()}

    @property
    def _summed(self) -> dict[str, Tree]:
        """What each estimator sums up to, as of `summary`, against the best reference there is."""
        rows = summary(self.completeness)
        reference = next((name for name in REFERENCES if name in set(rows["reference"])), None)
        rows = rows[rows["reference"] == reference].set_index("estimator")
        return cast(dict[str, Tree], rows.to_dict("index"))  # to pandas, any name may be a number


def hardware(attempt: Tree) -> str:
    """Return the cards of an attempt, or its processor, such as `2 × Tesla V100`."""
    devices: Counter[str] = Counter(attempt["devices"])
    return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in devices.items())


def version(attempt: Tree) -> str:
    """Return the code of an attempt: the commit, or the beginning of the code's checksum."""
    code = attempt["code"]
    if code["commit"] is None:
        return f"sha256 {code['sha256'][:10]}"
    return f"{code['commit'][:10]}{' with changes' if code['modified'] else ''}"


def labels(runs: list[str]) -> list[str]:
    """Return short labels of runs (europarl/mt/de-en/base/1): objective, and what tells them apart.

    That are the languages and, where there are several, the corpus, the variant and the seed.
    """
    facets = pd.DataFrame([run.split("/") for run in runs], columns=FACETS)
    texts = facets["objective"].map(OBJECTIVE_NAMES) + " · " + names(facets)
    if facets["seed"].nunique() > 1:
        texts += ", " + facets["seed"]
    return texts.to_list()


RULE = (
    "A run is marked ⚠ where what is shown of it may mislead: it ended early; its loss is not "
    f"finite, fell by less than {MIN_LOSS_DROP:.0%}, or ended over {MAX_LOSS_RATIO:g} times as "
    "high as is usual (the median) for its objective; on test text, its loss is not "
    f"{MIN_LOSS_DROP:.0%} below that of a unigram model, which knows nothing but the frequencies "
    f"of the training text; its best BLEU is below {MIN_BLEU}; no estimator adds up to the change "
    f"of its loss within {MAX_GAP:.0%}; or its packages are not those of most runs."
)
"""What `warnings` looks for, in words."""


def warnings(run: RunSummary, runs: list[RunSummary]) -> Iterator[str]:
    """Yield what looks wrong with one of the runs."""
    planned = run.manifest["settings"]["total_updates"]
    if run.updates < planned:
        yield f"ends after {run.updates:,} of {planned:,} updates"
    if not np.isfinite(run.losses["loss"]).all():
        yield "the loss is not finite throughout"
    if run.last_loss > (1 - MIN_LOSS_DROP) * run.first_loss:
        yield f"hardly learned: the loss went from {run.first_loss:.2f} to {run.last_loss:.2f}"
    peers = [other.last_loss for other in runs if other.objective == run.objective]
    if len(peers) > 2 and run.last_loss > MAX_LOSS_RATIO * (usual := statistics.median(peers)):
        yield f"final loss {run.last_loss:.2f}, where {usual:.2f} is usual for its objective"
    yield from _poor_scores(run.scores)
    errors = [abs(share - 1) for share in run.shares.values()]
    if errors and not min(errors) <= MAX_GAP:
        yield f"no estimator adds up to the change of its loss within {MAX_GAP:.0%}"
    for package, version in run.manifest["packages"].items():
        versions = Counter(other.manifest["packages"].get(package) for other in runs)
        if versions[version] < len(runs) / 2:
            yield f"{package} {version}, where most runs have {versions.most_common(1)[0][0]}"


def _poor_scores(scores: pd.DataFrame) -> Iterator[str]:
    """Yield what says that a model can do little of what it was trained for."""
    poor = scores[unlearned(scores)]
    losses = poor["loss"].fillna(poor["masked_loss"])
    for loss, unigram in zip(losses, poor["unigram_loss"], strict=True):
        yield f"test loss {loss:.2f}, where word frequencies alone give {unigram:.2f}"
    if (best := scores["bleu"].max()) < MIN_BLEU:
        yield f"BLEU {best:.1f} at best: its translations are of hardly any use"


def flatten(facts: Tree, prefix: str = "") -> dict[str, str]:
    """Return nested facts as text by dotted keys, such as settings.lr."""
    flat: dict[str, str] = {}
    for key, value in facts.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def agreed(runs: Iterable[RunSummary]) -> dict[str, str]:
    """Return the facts in which all runs agree, by dotted keys."""
    first, *others = (flatten(run.facts) for run in runs)
    return {
        key: value
        for key, value in first.items()
        if all(facts.get(key) == value for facts in others)
    }


def own_facts(run: RunSummary, runs: Iterable[RunSummary]) -> dict[str, str]:
    """Return the facts of a run that are not those of all runs."""
    common = agreed(runs)
    return {key: value for key, value in flatten(run.facts).items() if key not in common}
