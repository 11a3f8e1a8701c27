"""From tables to verdicts: what decides, what is missing, seeds, estimators, depths, scores."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from closer_look.analysis import claims
from closer_look.analysis.claims import markdown
from closer_look.analysis.claims.claim import above, at_most
from closer_look.analysis.claims.verdicts import (
    FAILS,
    HOLDS,
    NOT_APPLICABLE,
    UNDECIDED,
    Inequality,
    _combine,
)
from closer_look.vocabulary import ATTENTION, COMPONENTS, FACETS, FEED_FORWARD
from worlds import (
    CLM,
    ENCODER,
    MAIN,
    MAIN_RUNS,
    MLM,
    MT,
    UPDATES,
    WIDTH,
    World,
    change,
    results,
    swing,
    values,
    without,
)

NUMBERS = [str(number) for number in range(1, 24)] + ["24a", "24b", "25", "26"]


def test_all_claims_are_there_in_order():
    found = claims.evaluate(**World().tables(), main=MAIN, resamples=0)
    assert list(found.columns) == claims.COLUMNS
    assert list(found["claim"]) == NUMBERS
    assert found[["statement", "formula", "section"]].ne("").all(axis=None)
    assert list(found["group"]) == ["the paper"] * 25 + ["others"] * 2
    assert found["section"].str.contains("arXiv").tolist() == [False] * 25 + [True] * 2


@pytest.mark.parametrize(
    ("relation", "low", "high", "verdict"),
    [
        (">", 1.1, 2, HOLDS),
        (">", 1, 2, UNDECIDED),
        (">", 0, 1, FAILS),
        ("≥", 1, 2, HOLDS),
        ("≥", 0, 1, UNDECIDED),
        ("≥", 0, 0.9, FAILS),
        ("≤", 0, 1, HOLDS),
        ("≤", 1, 2, UNDECIDED),
        ("≤", 1.1, np.inf, FAILS),
        (">", np.nan, np.nan, UNDECIDED),
        (">", -np.inf, np.inf, UNDECIDED),
    ],
)
def test_an_inequality_is_undecided_if_its_interval_contains_the_threshold(
    relation, low, high, verdict
):
    assert Inequality("", 1.0, low, high, "updates", relation, 1, "").verdict == verdict
    undefined = Inequality("", np.nan, low, high, "updates", relation, 1, "")
    assert undefined.verdict == NOT_APPLICABLE


@pytest.mark.parametrize("seeds", [1, 40])
def test_one_of_many_inequalities_does_not_fail_by_chance(seeds):
    """Its value is 2.1 standard errors from holding; that it holds is as certain of many."""
    resamples = -2.1 + norm.ppf((np.arange(999) + 0.5) / 999)
    by_seed = -2.1 + seeds**0.5 * norm.ppf(np.linspace(0.02, 0.98, 40))
    parts = [np.append(-2.1, resamples)] if seeds == 1 else [np.array([seed]) for seed in by_seed]

    def verdict(require, sign, several):
        first, *others = (require("", sign * draws, 0) for draws in parts)
        return _combine(first, others, several).verdict

    assert [verdict(above, 1, number) for number in (1, 8)] == [FAILS, UNDECIDED]
    assert [verdict(at_most, -1, number) for number in (1, 8)] == [FAILS, UNDECIDED]
    assert [verdict(above, -1, number) for number in (1, 8)] == [HOLDS, HOLDS]
    assert [verdict(at_most, 1, number) for number in (1, 8)] == [HOLDS, HOLDS]


def test_of_a_conjunction_those_decide_that_fail_then_those_that_are_undecided():
    world = World()
    for run, size in zip(MAIN_RUNS, (20, 11, 15), strict=True):
        change(run, FEED_FORWARD, to=size)(world)
    row = results(world, numbers=["1"]).loc["1"]
    assert (row["verdict"], row["part"], row["hold"]) == ("holds", "clm", 3)
    swing(4, CLM, MT)(world)
    row = results(world, numbers=["1"]).loc["1"]
    assert (row["verdict"], row["decides"], row["hold"]) == ("undecided", "clm; mt", 1)
    change(MLM, FEED_FORWARD, to=5)(world)
    row = results(world, numbers=["1"]).loc["1"]
    assert (row["verdict"], row["decides"], row["hold"]) == ("fails", "mlm", 0)
    assert (round(row["value"], 9), row["relation"], row["threshold"]) == (5, "≥", 10)
    assert row["inequalities"] == 3


@pytest.mark.parametrize("objective", ["mlm", "clm", "mt"])
def test_a_missing_objective_leaves_the_claims_of_the_others(objective):
    tables = {name: without(table, objective=objective) for name, table in World().tables().items()}
    found = results(tables)
    about = {number: claims.CLAIMS[number].objectives for number in found.index}
    for number, row in found.iterrows():
        if about[number] == (objective,):
            assert row["verdict"] == "not applicable"
            assert "among the main runs" in row["reason"]
        elif objective not in about[number]:
            assert "among the main runs" not in row["reason"], number
    assert found.loc["1", "verdict"] == "fails"


def test_a_claim_that_fails_for_one_objective_fails_without_another():
    world = World()
    for run in MAIN_RUNS:
        change(run, FEED_FORWARD, at=[5, 11], to=2)(world)
        change(run, FEED_FORWARD, at=11, to=3)(world)
    assert results(world, numbers=["8"]).loc["8", "verdict"] == "holds"
    tables = {name: without(table, objective="mlm") for name, table in world.tables().items()}
    assert results(tables, numbers=["8"]).loc["8", "verdict"] == "not applicable"
    world[MT].h["w1"][0] = 3
    tables = {name: without(table, objective="mlm") for name, table in world.tables().items()}
    assert results(tables, numbers=["8"]).loc["8", "verdict"] == "fails"


PARTIAL = {
    "no runs": lambda tables: {name: table.iloc[:0] for name, table in tables.items()},
    "no curves": lambda tables: tables | {"curves": tables["curves"].iloc[:0]},
    "no heads": lambda tables: tables | {"head_curves": tables["head_curves"].iloc[:0]},
    "a head less": lambda tables: (
        tables | {"head_curves": tables["head_curves"].query("not (head == 2 and layer == 3)")}
    ),
    "no embeddings": lambda tables: {n: t.query("layer > 0") for n, t in tables.items()},
    "no keys": lambda tables: {n: t.query("component != 'key'") for n, t in tables.items()},
    "a key less": lambda tables: {
        n: t.query("component != 'key' or layer != 4") for n, t in tables.items()
    },
    "no decoder": lambda tables: {n: t.query("stack != 'decoder'") for n, t in tables.items()},
    "one window": lambda tables: tables | {"curves": tables["curves"].query("update == 10")},
    "two windows": lambda tables: tables | {"curves": tables["curves"].query("update <= 20")},
    "no highs": lambda tables: tables | {"curves": tables["curves"].assign(high=np.nan)},
    "no errors": lambda tables: tables | {"totals": tables["totals"].drop(columns="se")},
    "nothing learned": lambda tables: {
        "totals": tables["totals"].assign(lca=0.0),
        "curves": tables["curves"].assign(sum=0.0),
        "head_curves": tables["head_curves"].assign(sum=0.0),
    },
    "all is lost": lambda tables: tables | {"curves": tables["curves"].assign(sum=1.0)},
}


@pytest.mark.parametrize("part", PARTIAL)
@pytest.mark.filterwarnings("error")
def test_partial_tables_do_not_break_the_evaluation(part):
    found = claims.evaluate(**PARTIAL[part](World().tables()), main=MAIN, resamples=5)
    untested = found["verdict"] == "not applicable"
    assert (found["reason"] != "")[untested].all()
    assert found["value"].notna()[~untested].all()
    if len(found):
        assert markdown.write(found)


def test_what_was_not_recorded_is_named():
    found = results(PARTIAL["no curves"](World().tables()), numbers=["17"])
    assert "no causal LM among the main runs" in found.loc["17", "reason"]
    found = results(PARTIAL["no heads"](World().tables()), numbers=["20"])
    assert "no heads of key" in found.loc["20", "reason"]
    found = results(PARTIAL["no highs"](World().tables()), numbers=["22"])
    assert "single updates are not known" in found.loc["22", "reason"]


def test_too_few_windows_leave_everything_undecided():
    found = results(PARTIAL["two windows"](World().tables()), numbers=["1"])
    assert found.loc["1", "verdict"] == "undecided"
    assert "no interval" in found.loc["1", "reason"]


@pytest.mark.parametrize("layers", [2, 4, 6, 24])
@pytest.mark.filterwarnings("error")
def test_other_depths_are_scaled_or_too_shallow(layers):
    world = World(layers=layers)
    found = results(world, resamples=5)
    assert ("too few" in found.loc["2", "reason"]) == (layers == 2)
    spans = {4: (1, 3), 6: (1, 5), 24: (4, 20)}
    if layers in spans:
        first, last = spans[layers]
        world[MLM].set(ATTENTION, [*[2] * first, *[1] * (last - first), *[3] * (layers - last)])
        assert results(world, numbers=["2"]).loc["2", "verdict"] == "holds"


def test_estimators_are_tested_apart_and_in_their_order():
    held, flat = World(), World().tables("own_batch")
    change(MLM, ATTENTION, to=[2, 2, *[0.5] * 8, 4, 4])(held)
    held = held.tables("next_batch")
    tables = {name: pd.concat([held[name], flat[name]]) for name in held}
    tables["totals"] = pd.concat([tables["totals"], World().tables("newest")["totals"]])
    found = claims.evaluate(**tables, main=MAIN, resamples=9, numbers=["2", "14"])
    found = found.set_index(["estimator", "claim"])
    assert list(found.index.unique("estimator")) == ["own_batch", "next_batch", "newest"]
    verdicts = found["verdict"].xs("2", level="claim")
    assert list(verdicts) == ["fails", "holds", "not applicable"]


def test_other_variants_are_left_out():
    world = World((MLM, CLM, MT, (*MLM[:3], "post_norm", 1)))
    world[(*MLM[:3], "post_norm", 1)].h["key"][3] = -1
    found = results(world, numbers=["23"])
    assert found.loc["23", "verdict"] == "holds"
    assert "post_norm" not in " ".join(found["runs"])


SEEDS = [(*run[:4], seed) for run in MAIN_RUNS for seed in (1, 2, 3)]


def test_the_interval_is_students_over_seeds_where_there_are_three():
    world = World(SEEDS)
    ends = {1: 3.0, 2: 4.0, 3: 5.0}
    for run in SEEDS:
        change(run, ["value", "out"], at=ENCODER, to=[ends[run[4]], 1, 1, 1, 1, 9])(world)
    row = results(world, numbers=["5"]).loc["5"]
    assert (row["interval"], len(row["runs"].split())) == ("seeds", 3)
    by_seed = np.array([(end - 1) / ((end + 4 + 9) / 6) for end in ends.values()])
    assert row["value"] == pytest.approx(by_seed.mean())
    reach = 4.3027 * by_seed.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom
    assert row["low"] == pytest.approx(by_seed.mean() - reach, rel=1e-3)
    assert row["high"] >= by_seed.mean() + reach  # the other end may be the least as well


def test_all_kinds_of_claims_have_an_interval_over_seeds():
    world, rng = World(SEEDS), np.random.default_rng(5)
    for model in world.runs.values():
        for name in COMPONENTS:
            model.h[name] = rng.gamma(4, size=12)
            course = rng.gamma(4, size=model.course[name].shape)
            model.course[name] = course / course.sum(axis=1, keepdims=True)
            model.high[name] = rng.normal(size=course.shape)
        for name in ATTENTION:
            model.heads[name] = rng.normal(size=model.heads[name].shape)
    found = results(world)
    tested = found[found["verdict"] != "not applicable"]
    of_main = tested.drop(index="23")
    assert len(of_main) >= 23
    assert (of_main["interval"] == "seeds").all()


def test_two_seeds_are_averaged():
    world = World([(*run[:4], seed) for run in MAIN_RUNS for seed in (1, 2)])
    world[(*MT[:4], 2)].set(FEED_FORWARD, 29)
    row = results(world, numbers=["1"]).loc["1"]
    assert values(row)["mt"] == pytest.approx(15)
    assert row["interval"] == "updates"


def scores(poor):
    """Return scores of all main runs, of which some are hardly better than a unigram model."""
    rows = [dict(zip(FACETS, run, strict=True)) for run in MAIN_RUNS]
    found = pd.DataFrame(rows).assign(loss=5.0, masked_loss=np.nan, unigram_loss=7.0)
    found.loc[found["objective"] == "mlm", ["loss", "masked_loss"]] = np.nan, 5.0
    found.loc[found["objective"].isin(poor), "unigram_loss"] = 5.5
    return found


def test_runs_that_have_hardly_learned_are_named_where_a_claim_rests_on_them():
    found = results(World(), scores=scores(["mlm"]), resamples=0)
    assert found.loc["2", "unlearned"] == "europarl/mlm/en/base/1"
    assert found.loc["5", "unlearned"] == ""
    assert (results(World(), scores=scores([]), resamples=0)["unlearned"] == "").all()
    assert (results(World(), resamples=0)["unlearned"] == "").all()


def test_windows_of_many_updates_give_the_same_values():
    """Whatever they are of: here, the last window is shorter than the others."""
    world = World()
    change(CLM, FEED_FORWARD, to=20)(world)
    tables = world.tables()
    cut = {"curves": tables["curves"].query(f"update != {UPDATES - WIDTH}")}
    found = results(tables | cut, numbers=["1"]).loc["1"]
    assert values(found)["clm"] == pytest.approx(20)
