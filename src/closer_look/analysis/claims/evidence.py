"""What the claims are tested on: what the layers of the main runs did under one estimator.

Arrays begin with an axis of draws: draw 0 is what was measured, the others are resamples of the
updates (see `..resampling`), so that one evaluation of a claim gives a value and its interval.
Then come components, layers (the encoder's before the decoder's) and, of some, stretches of time.
"""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import count

import numpy as np
import pandas as pd

from ...vocabulary import BLOCK, COMPONENTS, FACETS
from ..arrays import Floats, Integers
from ..hurting import COUNTED, SINGLE_UPDATES, critical, errors, exceeded
from ..quantities import apart, per_window
from ..resampling import CONFIDENCE, Blocks, multipliers_of_groups

NAMES = {"mlm": "masked LM", "clm": "causal LM", "mt": "translation model"}

EARLY = 0.25
"""The share of the updates called early: it has to hold the warm-up of short trainings, too."""

LATE = 0.1
"""The share of the updates after which they are called late where blocks hurt (Figure 4)."""

SETTLED = 0.9
"""The share of its contribution with which a block has converged, by t90."""

SIGHTINGS = 10
"""The last windows with a positive update, by which it is judged when these end."""

STRETCHES = 40
"""Points of a curve. The paper smooths over 1/125 of its 125,000 updates (Figure 2): of shorter
trainings, that is mostly noise."""


class NotApplicable(Exception):
    """A claim cannot be tested on these runs; the message says why."""


class Model:
    """A main run under one estimator.

    `curves` and `head_curves` as of `lca.analysis.curves`, of this run and estimator.
    """

    def __init__(
        self,
        curves: pd.DataFrame,
        head_curves: pd.DataFrame,
        single_updates: bool,
        resamples: int,
        rng: np.random.Generator,
    ) -> None:
        self._sums = _places(per_window(curves))
        self._apart = [frame[self._sums.columns] for frame in apart(curves)]
        self._highs = _places(curves.pivot(index="update", columns=BLOCK, values="high"))
        self._head_curves = head_curves
        self.single_updates = single_updates
        self._blocks = Blocks(self._sums.index.to_numpy())
        self._rng = rng
        self._multipliers = self._draw(resamples, self._blocks)
        self._of_groups = multipliers_of_groups(resamples, len(self._apart), rng)
        stacks, layers, components = (self._sums.columns.get_level_values(name) for name in BLOCK)
        self.stacks = list(dict.fromkeys(stacks[layers > 0]))
        self._columns = {name: np.flatnonzero(components == name) for name in components.unique()}
        self._stacks, self._layers = stacks.to_numpy(), layers.to_numpy()
        self.cumulative = lru_cache(None)(self._cumulative)

    @property
    def shares(self) -> Floats:
        """The edges of time of `cumulative`, as shares of the training."""
        return self._blocks.shares

    @property
    def components(self) -> list[str]:
        """The names of all components."""
        return list(self._columns)

    def layers(self, component: str, stack: str | None = None) -> Integers:
        """Return which places of a component are of a layer, of this stack if it is given."""
        columns = self._columns.get(component, np.array([], int))
        right = np.full(len(columns), True) if stack is None else self._stacks[columns] == stack
        return np.flatnonzero((self._layers[columns] > 0) & right)

    def _cumulative(self, component: str | None) -> Floats:
        """Return the contributions of a component up to each edge, (draw, place, edge).

        Without a name, those of all blocks together, as one place.
        """
        frames = [frame.to_numpy() for frame in (self._sums, *self._apart)]
        if component is None:
            frames = [frame.sum(axis=1, keepdims=True) for frame in frames]
        else:
            frames = [frame[:, self._columns[component]] for frame in frames]
        series, *apart_ = frames
        return self._blocks.cumulative(series, self._multipliers, apart_, self._of_groups)

    @cached_property
    def heads(self) -> dict[str, Floats]:
        """The contributions of the heads, by component: (draw, layer, head)."""
        if self._head_curves.empty:
            return {}
        of = [*BLOCK, "head"]
        sums = _places(per_window(self._head_curves, of))
        groups = [frame[sums.columns].to_numpy() for frame in apart(self._head_curves, of)]
        blocks = Blocks(sums.index.to_numpy())
        multipliers = self._draw(len(self._multipliers), blocks)
        components, heads = (sums.columns.get_level_values(name) for name in ("component", "head"))
        by_component = {}
        for name in components.unique():
            series, *apart_ = (frame[:, components == name] for frame in (sums.to_numpy(), *groups))
            of_heads = blocks.cumulative(series, multipliers, apart_, self._of_groups)
            most = heads[components == name].max()
            if of_heads.shape[1] % most == 0:
                by_component[name] = of_heads[..., -1].reshape(len(of_heads), -1, most)
        return by_component

    @cached_property
    def last_hurt(self) -> tuple[float, float, float]:
        """Until when some block of Table 1 hurt, as a share of training, and its interval.

        Of single updates, it is the end of the last window with one above 0. As with the last
        sighting of a species, the end lies beyond it by more than x times the time that the last k
        windows took with probability (1 + x)^-k (Robson and Whitlock 1964, Cooke 1980), if as many
        are seen in any time at the end. Of sums over windows, it is the end of the last significant
        one; by resamples, it may be less, and it may be as late as the last window in which some
        block is not known to help: what cannot be seen is not absent.

        Raises `NotApplicable` if it is of single updates, and these are not known.
        """
        shares, tail = self.shares, (1 - CONFIDENCE) / 2
        if self.single_updates:
            hurts = self._known_highs().gt(0).any(axis=1).to_numpy()
            times = self._highs.index.to_numpy()[hurts] / self._highs.index[-1]
            times = np.append(0, times)[-SIGHTINGS - 1 :]
            last, seen = times[-1], len(times) - 1
            beyond = tail ** (-1 / max(1, seen)) - 1
            return last, last, min(1.0, last + beyond * (last - times[0]))
        significant = np.concatenate([(part > 0).any(axis=2) for part in self._significant()])
        windows = np.where(
            significant.any(axis=1), significant.shape[1] - significant[:, ::-1].argmax(axis=1), 0
        )
        low = np.quantile(windows, tail, method="closest_observation").astype(int)
        lca, error = self._lca_and_errors
        may_hurt = (lca + exceeded(len(lca), tail) * error).max(axis=1) > 0
        high = max([windows[0], *np.flatnonzero(may_hurt) + 1])
        return shares[windows[0]], shares[max(0, low - 1)], shares[high]

    @cached_property
    def late_hurt(self) -> dict[str, Floats]:
        """How much each block of Table 1 hurt late, by component: (draw, place), nats per token.

        Of single updates, the largest value of each window, if it is above 0; of sums over windows,
        those that are significantly so.

        Raises `NotApplicable` if it is of single updates, and these are not known.
        """
        if self.single_updates:
            highs = self._known_highs().clip(lower=0).to_numpy()
            sums = self._blocks.cumulative(highs, self._multipliers)
            ends = _interpolated(sums, self.shares, np.array([LATE, 1.0]))
            amounts = (ends[..., 1] - ends[..., 0]).clip(min=0)
        else:
            late = self.shares[1:] > LATE
            parts = [(part * late[:, None]).sum(axis=1) for part in self._significant()]
            amounts = np.concatenate(parts)
        columns = self._counted(self._sums).columns
        names = columns.get_level_values("component")
        return {name: amounts[:, names == name] for name in names.unique()}

    def _significant(self) -> Iterator[Floats]:
        """Yield sums that hurt significantly, 0 else, by some of the draws: (draw, window, place).

        In a resample, what is not significantly above 0 is taken to be at most 0, and noise is
        added to that.
        """
        lca, error = self._lca_and_errors
        limit = critical(*lca.shape) * error
        significant = lca > limit
        yield np.where(significant, lca, 0.0)[None]
        centre = np.where(significant, lca, np.minimum(lca, 0))
        for some in np.array_split(self._multipliers, max(1, len(self._multipliers) // 50)):
            moved = centre + some[:, :, None] * error
            yield np.where(moved > limit, moved, 0.0)

    @cached_property
    def _lca_and_errors(self) -> tuple[Floats, Floats]:
        """The sums over windows of the blocks of Table 1, and their standard errors."""
        lca = -self._blocks.sums(self._counted(self._sums).to_numpy())
        groups = [self._counted(frame).to_numpy() for frame in self._apart]
        return lca, errors(self._blocks, lca, groups)

    def _known_highs(self) -> pd.DataFrame:
        if self._highs.isna().all(axis=None):
            raise NotApplicable("the largest values of single updates are not known")
        return self._counted(self._highs)

    def _counted(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.loc[:, frame.columns.get_level_values("component").isin(COUNTED)]

    def _draw(self, resamples: int, blocks: Blocks) -> Floats:
        return blocks.multipliers(resamples, self._rng)


class Evidence:
    """What one estimator says about one run of each objective, and about all runs together.

    `all_runs` are the totals of the blocks of all runs. The methods raise `NotApplicable` where the
    runs do not have what is asked for.
    """

    def __init__(self, models: dict[str, Model], all_runs: pd.DataFrame, resamples: int) -> None:
        self.models = models
        self.all_runs = all_runs
        self.resamples = resamples

    def model(self, objective: str) -> Model:
        """Return the main run of an objective. Raises `NotApplicable` if there is none."""
        if objective not in self.models:
            raise NotApplicable(f"no {NAMES[objective]} among the main runs")
        return self.models[objective]

    def stacks(self, objective: str) -> list[str]:
        """Return the stacks of a model, the encoder first."""
        return self.model(objective).stacks

    def profile(self, objective: str, component: str, stack: str | None = None) -> Floats:
        """Return the contributions of a component by layer, of one stack or all: (draw, layer)."""
        return self._cumulative(objective, component, stack)[..., -1]

    def grid(
        self,
        objective: str,
        components: tuple[str, ...] = COMPONENTS,
        stack: str | None = None,
    ) -> Floats:
        """Return the profiles of several components, (draw, component, layer)."""
        return self._cumulatives(objective, components, stack)[..., -1]

    def summed(self, objective: str, components: tuple[str, ...]) -> Floats:
        """Return the contributions of components together, (draw, layer)."""
        total: Floats = self.grid(objective, components).sum(axis=1)
        return total

    def heads(self, objective: str, component: str) -> Floats:
        """Return the contributions of the heads of a component, (draw, layer, head).

        Raises `NotApplicable` if there are none.
        """
        heads = self.model(objective).heads.get(component)
        if heads is None:
            raise NotApplicable(f"{NAMES[objective]}: no heads of {component}")
        return heads

    def t90(self, objective: str, components: tuple[str, ...], stack: str | None = None) -> Floats:
        """Return by when 90 % of a contribution were reached, (draw, component, layer).

        As a share of training; interpolated within a block of updates, NaN without a contribution.
        """
        sums = self._cumulatives(objective, components, stack)
        return _reached(sums, self.model(objective).shares)

    def t90_of_sum(self, objective: str, components: tuple[str, ...]) -> Floats:
        """Return the same of the components together, (draw, layer)."""
        sums = self._cumulatives(objective, components).sum(axis=1)
        return _reached(sums, self.model(objective).shares)

    def early(self, objective: str, components: tuple[str, ...]) -> Floats:
        """Return the early contributions of components together, (draw, layer)."""
        sums = self._cumulatives(objective, components).sum(axis=1)
        return _interpolated(sums, self.model(objective).shares, np.array([EARLY]))[..., 0]

    def course(self, objective: str, components: tuple[str, ...]) -> Floats:
        """Return the curves of components together, (draw, layer, stretch): its contributions."""
        sums = self._cumulatives(objective, components).sum(axis=1)
        shares = np.linspace(0, 1, STRETCHES + 1)
        return np.diff(_interpolated(sums, self.model(objective).shares, shares))

    def early_and_all(self, objective: str, component: str | None = None) -> Floats:
        """Return the early and the whole contribution of a component, or of all: (draw, 2).

        Raises `NotApplicable` if the model does not have the component.
        """
        model = self.model(objective)
        if component not in (None, *model.components):
            raise NotApplicable(f"{NAMES[objective]}: nothing of {component}")
        sums = model.cumulative(component).sum(axis=1)
        return _interpolated(sums, model.shares, np.array([EARLY, 1.0]))

    def last_hurt(self, objective: str) -> tuple[float, float, float]:
        """Return until when some block hurt. Raises `NotApplicable` as `Model.last_hurt` does."""
        return self.model(objective).last_hurt

    def late_hurt(self, objective: str, component: str) -> Floats:
        """Return how much a component hurt late, (draw, layer or matrix of embeddings).

        Raises `NotApplicable` if the model does not have it, and as `Model.late_hurt` does.
        """
        hurt = self.model(objective).late_hurt.get(component)
        if hurt is None:
            raise NotApplicable(f"{NAMES[objective]}: nothing of {component}")
        return hurt

    def _cumulatives(
        self, objective: str, components: tuple[str, ...], stack: str | None = None
    ) -> Floats:
        parts = [self._cumulative(objective, name, stack) for name in components]
        if len({part.shape[1] for part in parts}) > 1:
            raise NotApplicable(f"{NAMES[objective]}: layers are missing")
        return np.stack(parts, axis=1)

    def _cumulative(self, objective: str, component: str, stack: str | None = None) -> Floats:
        """Return the contributions of a component up to each edge, (draw, layer, edge)."""
        model = self.model(objective)
        layers = model.layers(component, stack)
        if not len(layers):
            of = f"{stack} {component}" if stack else component
            raise NotApplicable(f"{NAMES[objective]}: nothing of {of}")
        return model.cumulative(component)[:, layers]


def trials(curves: pd.DataFrame, head_curves: pd.DataFrame, resamples: int) -> list[Evidence]:
    """Return the evidence by seed: the first of each objective, the second of each, and so on.

    The tables are of one estimator and of the main runs.
    """
    numbers = count()
    models: list[dict[str, Model]] = [{}]
    for objective, of_objective in curves.groupby("objective"):
        for trial, (run, of_run) in enumerate(of_objective.groupby(FACETS)):
            models += [{} for _ in range(trial + 1 - len(models))]
            heads = head_curves[pd.MultiIndex.from_frame(head_curves[FACETS]).isin([run])]
            single = of_run["estimator"].iloc[0] in SINGLE_UPDATES
            rng = np.random.default_rng(next(numbers))
            models[trial][str(objective)] = Model(of_run, heads, single, resamples, rng)
    return [Evidence(seed, pd.DataFrame(), resamples) for seed in models]


def _places(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in order: the encoder's before the decoder's, then by layer."""
    places = sorted(frame.columns, key=lambda place: (place[0] != "encoder", place))
    return frame[places]


def _reached(sums: Floats, shares: Floats) -> Floats:
    """Return when sums (..., edge) first reach `SETTLED` of the last."""
    level = SETTLED * sums[..., -1:]
    after = np.maximum(1, np.argmax(sums >= level, axis=-1))[..., None]
    low, high = (np.take_along_axis(sums, at, axis=-1) for at in (after - 1, after))
    times = shares[after - 1] + (level - low) / (high - low) * (shares[after] - shares[after - 1])
    return np.where(level > 0, times, np.nan)[..., 0]


def _interpolated(sums: Floats, shares: Floats, at: Floats) -> Floats:
    """Return sums (..., edge) at some shares of the training."""
    weights = np.array([np.interp(at, shares, unit) for unit in np.eye(len(shares))])
    values: Floats = sums @ weights
    return values
