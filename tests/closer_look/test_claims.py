"""The claims on imagined runs, each made to hold and each of its inequalities made to break."""

import numpy as np
import pandas as pd
import pytest

from closer_look.analysis import claims
from closer_look.analysis.claims import evidence, markdown
from closer_look.analysis.quantities import ATTENTION, COMPONENTS, FEED_FORWARD
from worlds import CLM, LAYERS, MAIN, MLM, MT, UPDATES, WINDOWS, World

MAIN_RUNS = (MLM, CLM, MT)
ENCODER, DECODER = slice(0, 6), slice(6, 12)

RAMP = np.arange(1.0, 13)
CUP = np.array([3.0, 1, 1, 1, 1, 3, 3, 3, 3, 3, 2.5, 1])

EVEN = np.full(WINDOWS, 1 / WINDOWS)
EARLY = np.repeat([0.08, 0.2 / 90], [10, 90])
"""A course with 80 % of the contribution in the first 10 % of the updates."""
DECLINE = np.linspace(1, 0, WINDOWS)
ZIGZAG = slice(60, 99, 2)
"""Every other window of the second half."""

HEAD_OUTLIERS = {MLM: (1, 9, 12), CLM: (3, 7), MT: (5, 7)}


def change(run, components, field="h", at=slice(None), to=None):
    """Return a function that changes a world: a field of some components at some layers."""

    def apply(world):
        for name in components:
            getattr(world[run], field)[name][at] = to

    return apply


def embeddings(run, field, to):
    return lambda world: world[run].embeddings.update({field: to})


def spread_heads(run, layers):
    """Return a function that lets the heads of some layers differ much, of the others little."""

    def apply(world):
        heads = world[run].heads["key"]
        heads[:, 0] += 0.01
        heads[np.array(layers) - 1] = [0, 0.1, 0.4, 0.5]

    return apply


def all_of(*changes):
    def apply(world):
        for one in changes:
            one(world)

    return apply


CASES = {
    1: (
        all_of(*(change(run, FEED_FORWARD, to=20) for run in MAIN_RUNS)),
        {"mt": change(MT, FEED_FORWARD, to=9), "clm": change(CLM, ATTENTION, to=2.1)},
    ),
    2: (
        change(MLM, ATTENTION, to=[2, 2, *[0.5] * 8, 4, 4]),
        {
            "out: last over first layers": change(MLM, ["out"], at=slice(10, 12), to=1.9),
            "key: first over middle layers": change(MLM, ["key"], at=5, to=13),
        },
    ),
    3: (
        all_of(change(CLM, ATTENTION, to=CUP), change(MLM, ATTENTION, to=np.eye(12)[11])),
        {
            "key: layer 1 over 2-5": change(CLM, ["key"], at=0, to=0.9),
            "query: layers 6-10 over 2-5": change(CLM, ["query"], at=slice(5, 10), to=0.9),
            "out: drop in the last layer": change(CLM, ["out"], at=11, to=2.6),
            "value: evenness over MLM's": change(MLM, ["value"], to=1),
        },
    ),
    4: (
        change(MT, ["key", "query"], at=ENCODER, to=[4, 1, 1.1, 1.2, 1.3, 1.4]),
        {
            "key: layer 1 over all others": change(MT, ["key"], at=5, to=4.1),
            "query: half of layer 1 over layer 2": change(
                MT, ["query"], at=slice(1, 6), to=[2.1, 2.1, 2.2, 2.2, 2.3]
            ),
            "query: slope after layer 1": change(MT, ["query"], at=5, to=0.5),
        },
    ),
    5: (
        change(MT, ["value", "out"], at=ENCODER, to=[3, 1, 1, 1, 1, 3]),
        {
            "value: ends over middle": change(MT, ["value"], at=0, to=0.9),
            "out: ends over middle": change(MT, ["out"], at=5, to=0.9),
        },
    ),
    6: (
        all_of(
            change(MT, ["key", "query"], at=DECODER, to=[3, 1, 1, 3, 3, 1]),
            change(MT, ["value", "out"], at=DECODER, to=[3, 1, 1, 3, 3, 2.5]),
        ),
        {
            "key: layer 1 over 2-5": change(MT, ["key"], at=6, to=0.9),
            "query: layers 6-10 over 2-5": change(MT, ["query"], at=slice(9, 11), to=[0.5, 1.1]),
            "key: drop in the last layer": change(MT, ["key"], at=11, to=3.1),
            "out: last over 0.7 max": change(MT, ["out"], at=11, to=2),
        },
    ),
    7: (
        all_of(change(MT, ["key", "query"], to=RAMP), change(MT, ["value", "out"], to=RAMP % 3)),
        {
            "key and query over other pairs": change(MT, ["query"], to=RAMP % 3),
            "value and out over other pairs": change(MT, ["out"], to=RAMP),
        },
    ),
    8: (
        all_of(
            *(change(run, FEED_FORWARD, at=11, to=2) for run in MAIN_RUNS),
            change(MT, FEED_FORWARD, at=5, to=2),
        ),
        {
            "mlm encoder w1: last layer over all others": change(MLM, ["w1"], at=0, to=3),
            "clm decoder w2: last layer over all others": change(CLM, ["w2"], at=10, to=3),
            "mt encoder w1: last layer over all others": change(MT, ["w1"], at=0, to=3),
            "mt decoder w1: last layer over all others": change(MT, ["w1"], at=6, to=3),
        },
    ),
    9: (
        change(MLM, FEED_FORWARD, to=[3, *[1] * 8, 3, 5, 7]),
        {
            "w1: first over middle layers": change(MLM, ["w1"], at=0, to=0.9),
            "w2: final slope": change(MLM, ["w2"], to=[9, *np.sqrt(RAMP[:11])]),
        },
    ),
    10: (
        all_of(
            change(MLM, COMPONENTS, to=RAMP),
            *(change(run, ATTENTION, to=RAMP % 5) for run in (CLM, MT)),
            *(change(run, FEED_FORWARD, to=RAMP) for run in (CLM, MT)),
        ),
        {
            "MLM over clm": all_of(
                change(MLM, ["out"], to=RAMP % 5), change(CLM, COMPONENTS, to=RAMP)
            ),
            "MLM over mt": change(MT, COMPONENTS, to=RAMP),
        },
    ),
    11: (
        change(CLM, FEED_FORWARD, to=[1, 2, 3, 5, 7, 9, 11, 12, 13, 14, 15, 16]),
        {
            "w2: least increment": change(CLM, ["w2"], at=11, to=14.9),
            "w1: jumps in layers 4-7": change(CLM, ["w1"], to=RAMP**2),
        },
    ),
    12: (
        all_of(
            change(MT, FEED_FORWARD, at=ENCODER, to=RAMP[:6]),
            change(MT, FEED_FORWARD, at=DECODER, to=RAMP[:6] ** 2),
        ),
        {
            "encoder w1: slope": change(MT, ["w1"], at=ENCODER, to=RAMP[5::-1]),
            "encoder w1: R²": change(MT, ["w1"], at=ENCODER, to=[1, 1, 1, 1, 1, 9]),
            "decoder w2: convexity": change(MT, ["w2"], at=DECODER, to=np.sqrt(RAMP[:6])),
        },
    ),
    13: (
        all_of(
            *(change(run, COMPONENTS, "course", to=EARLY) for run in MAIN_RUNS),
            *(embeddings(run, "course", EARLY) for run in MAIN_RUNS),
        ),
        {
            "mt": change(MT, COMPONENTS, "course", to=EVEN),
            "clm": all_of(embeddings(CLM, "h", 90), embeddings(CLM, "course", EVEN)),
        },
    ),
    14: (
        all_of(
            *(change(run, COMPONENTS, "t90", to=RAMP) for run in (MLM, CLM)),
            change(MT, COMPONENTS, "t90", to=[*RAMP[:6], *RAMP[:6]]),
        ),
        {
            "clm decoder": change(CLM, COMPONENTS, "t90", to=-RAMP),
            "mt decoder": change(MT, COMPONENTS, "t90", at=DECODER, to=RAMP[5::-1]),
        },
    ),
    15: (
        all_of(
            change(MLM, COMPONENTS, to=[1, 0.5, *[0.05] * 7, 1, 1, 1]),
            change(MLM, COMPONENTS, "course", at=(slice(9, 12), ZIGZAG), to=0.1),
        ),
        {
            "early: outer over middle": embeddings(MLM, "h", 0.01),
            "oscillation: outer / middle": change(
                MLM, COMPONENTS, "course", at=(slice(2, 9), ZIGZAG), to=90
            ),
            "contribution: middle / outer": change(MLM, ["w1"], at=slice(2, 9), to=0.9),
        },
    ),
    16: (
        all_of(
            *(change(run, COMPONENTS, to=RAMP) for run in (CLM, MT)),
            change(MLM, COMPONENTS, to=RAMP % 5),
        ),
        {
            "r(CLM, MT) − r(CLM, MLM)": change(CLM, COMPONENTS, to=RAMP % 5),
            "r(CLM, MT) − r(MT, MLM)": change(MT, COMPONENTS, to=RAMP % 5),
        },
    ),
    17: (
        all_of(
            *(change(run, COMPONENTS, "course", to=DECLINE) for run in (CLM, MT)),
            change(CLM, COMPONENTS, "course", at=(slice(6, 10), ZIGZAG), to=0),
        ),
        {"CLM / MT": change(MT, COMPONENTS, "course", at=(slice(6, 10), slice(0, 99, 2)), to=0)},
    ),
    18: (
        all_of(
            change(CLM, ATTENTION, at=slice(6, 9), to=2),
            change(CLM, FEED_FORWARD, at=slice(6, 12), to=2),
        ),
        {
            "attention: layers 7-9 over others": change(CLM, ["key"], at=9, to=9),
            "feed-forward: layers 7-12 over others": change(CLM, ["w1"], at=11, to=0),
        },
    ),
    19: (
        all_of(
            *(change(run, FEED_FORWARD, "t90", to=950) for run in (CLM, MT)),
            *(change(run, FEED_FORWARD, "t90", at=slice(9, 12), to=990) for run in (CLM, MT)),
        ),
        {
            "mt: F / A": change(MT, FEED_FORWARD, "t90", at=slice(0, 9), to=500),
            "clm: layers 10-12 over others": change(
                CLM, FEED_FORWARD, "t90", at=slice(9, 12), to=940
            ),
        },
    ),
    20: (
        all_of(*(spread_heads(run, layers) for run, layers in HEAD_OUTLIERS.items())),
        {
            "mlm: median spread": spread_heads(MLM, range(1, 13)),
            "mt: layer 5 / median": lambda world: world[MT].heads["key"].__setitem__(4, 0.25),
        },
    ),
    21: (
        all_of(
            change(CLM, ["key"], "last_positive", at=3, to=0.02 * UPDATES),
            change(MT, ["w1"], "last_positive", at=3, to=0.03 * UPDATES),
            change(MLM, ["key"], "last_positive", at=3, to=0.5 * UPDATES),
        ),
        {
            "clm: share of training": embeddings(CLM, "last_positive", 0.04 * UPDATES),
            "mt: share of training": change(MT, ["w1"], "last_positive", at=9, to=0.04 * UPDATES),
            "mlm / the others": change(MLM, ["key"], "last_positive", at=3, to=0.29 * UPDATES),
        },
    ),
    22: (
        all_of(
            change(MLM, COMPONENTS, "hurts", at=(slice(None), slice(0, 10)), to=True),
            change(MLM, ["key"], "hurts", at=(slice(1, 5), ZIGZAG), to=True),
        ),
        {"share of layers 2-5 of attention": change(MLM, ["w1"], "hurts", at=(2, ZIGZAG), to=True)},
    ),
    23: (
        all_of(),
        {
            "europarl/mlm/en/base/1": change(MLM, ["key"], at=3, to=-0.1),
            "europarl/mt/en-de/base/1": change(MT, ["w2"], at=11, to=0),
        },
    ),
}
"""By claim: what makes it hold in a flat world; then, by inequality, what breaks it again."""

BREAKS = [(number, label) for number, (_, breaks) in CASES.items() for label in breaks]


def results(tables, resamples=0):
    """Return the verdicts of one estimator by claim."""
    return claims.evaluate(**tables, main=MAIN, resamples=resamples).set_index("claim")


def made_to_hold(number):
    world = World()
    CASES[number][0](world)
    return world


@pytest.mark.parametrize("number", CASES)
def test_a_claim_holds_where_it_should(number):
    row = results(made_to_hold(number).tables()).loc[number]
    assert row["verdict"] == "holds", row["values"]


@pytest.mark.parametrize(("number", "label"), BREAKS)
def test_a_claim_fails_by_the_inequality_that_was_broken(number, label):
    world = made_to_hold(number)
    CASES[number][1][label](world)
    row = results(world.tables()).loc[number]
    assert (row["verdict"], row["part"]) == ("fails", label), row["values"]


def test_all_claims_are_there_in_order():
    found = claims.evaluate(**World().tables(), main=MAIN, resamples=0)
    assert list(found.columns) == claims.COLUMNS
    assert list(found["claim"]) == list(range(1, 25))
    assert found[["statement", "formula", "section"]].ne("").all(axis=None)


def values(row):
    """Return all values of a verdict by their labels."""
    return {
        label: float(value)
        for label, value in (part.rsplit(": ", 1) for part in row["values"].split("; "))
    }


def test_values_are_those_computed_by_hand():
    world = World()
    all_of(
        *(change(run, FEED_FORWARD, to=20) for run in MAIN_RUNS),
        change(CLM, ["key", "query"], to=3),
        *(change(run, COMPONENTS, "course", to=EARLY) for run in MAIN_RUNS),
        change(MT, ["value", "out"], at=ENCODER, to=[3, 1, 1, 1, 1, 3]),
        change(MT, ["w1"], "last_positive", at=9, to=30),
        change(MLM, ["key"], "last_positive", at=9, to=500),
        change(MLM, ["key"], "hurts", at=(2, slice(50, 80)), to=True),
        change(MLM, ["w1"], "hurts", at=(2, slice(50, 60)), to=True),
        change(MLM, ["key"], at=slice(0, 9), to=-1),
    )(world)
    found = results(world.tables())
    assert values(found.loc[1]) == {"mlm": 20, "clm": 20 / 2, "mt": 20}
    ends_over_middle = (3 - 1) / ((3 + 1 + 1 + 1 + 1 + 3) / 6)
    assert values(found.loc[5])["out: ends over middle"] == pytest.approx(ends_over_middle)
    clm = 12 * (3 + 3 + 1 + 1 + 20 + 20), 1  # the layers, early by 80 %; the embeddings, by 10 %
    early = (0.8 * clm[0] + 0.1 * clm[1]) / sum(clm)
    assert values(found.loc[13])["clm"] == pytest.approx(early, rel=1e-3)
    assert values(found.loc[21]) == {
        "mlm / the others": pytest.approx(500 / 30, rel=1e-3),
        "clm: share of training": 0,
        "mt: share of training": 0.03,
    }
    assert found.loc[22, "value"] == 30 / 40
    assert found.loc[23, "value"] == (72 - 9) / 72


def test_the_deciding_part_is_the_one_nearest_to_failing():
    world = World()
    all_of(change(MLM, FEED_FORWARD, to=20), change(CLM, FEED_FORWARD, to=11))(world)
    change(MT, FEED_FORWARD, to=15)(world)
    row = results(world.tables()).loc[1]
    assert (row["verdict"], row["part"], row["value"]) == ("holds", "clm", 11)
    all_of(change(MLM, FEED_FORWARD, to=5), change(MT, FEED_FORWARD, to=7))(world)
    row = results(world.tables()).loc[1]
    assert (row["verdict"], row["part"], row["value"]) == ("fails", "mlm", 5)
    assert (row["relation"], row["threshold"]) == ("≥", 10)


def test_what_gains_nothing_is_exceeded_by_any_gain_and_exceeds_nothing():
    world = World()
    change(MLM, ATTENTION, to=-1)(world)
    all_of(*(change(run, COMPONENTS, to=0) for run in (CLM, MT)))(world)
    assert values(results(world.tables()).loc[1]) == {"mlm": np.inf, "clm": -np.inf, "mt": -np.inf}


KIN = {"mlm": ("en", "de", "fi", "et"), "clm": ("en", "de", "fi", "et"), "mt": ("en-de", "de-en")}


def kindred(differs_by, noise=0.1):
    """Return a world of ten runs with profiles that differ by a facet, and slightly by run."""
    runs = [("europarl", name, kin, "base", 1) for name, kins in KIN.items() for kin in kins]
    world, rng = World(runs), np.random.default_rng(1)
    shapes = {}
    for run in runs:
        shape = shapes.setdefault(run[differs_by], rng.normal(3, 1, 12))
        for name in COMPONENTS:
            world[run].h[name] = shape + noise * rng.normal(size=12)
    return world


def distort(world, languages):
    """Make the profiles of a masked LM unlike those of the others."""
    model = world["europarl", "mlm", languages, "base", 1]
    for name in COMPONENTS:
        model.h[name] = model.h[name] + np.random.default_rng(2).normal(0, 0.5, LAYERS)


def test_runs_cluster_by_objective_and_the_estonian_is_furthest():
    world = kindred(differs_by=1)
    distort(world, "et")
    row = results(world.tables()).loc[24]
    assert row["verdict"] == "holds", row["values"]
    assert row["runs"].split() == sorted("/".join(map(str, run)) for run in world.runs)


def test_another_language_is_furthest():
    world = kindred(differs_by=1)
    distort(world, "fi")
    row = results(world.tables()).loc[24]
    assert (row["verdict"], row["part"]) == ("fails", "distance of MLM et − largest other")


def test_runs_cluster_by_data():
    row = results(kindred(differs_by=2).tables()).loc[24]
    assert (row["verdict"], row["part"]) == ("fails", "permutation test, p")
    assert row["value"] > 0.05
    assert "by data: -" in row["values"]


def test_the_permutation_test_is_the_same_each_time():
    tables = kindred(differs_by=1, noise=3).tables()
    first, second = (results(tables).loc[24, "values"] for _ in range(2))
    assert first == second
    assert 0.001 < float(first.split("p: ")[1].split(";")[0]) < 1


def test_three_runs_of_an_objective_each_are_too_few_to_cluster():
    assert "3 runs are too few" in results(World().tables()).loc[24, "reason"]
    four = kindred(differs_by=1)
    kept = [run for run in four.runs if run[1] != "mt" and run[2] in ("en", "de")]
    four.runs = {run: four[run] for run in kept}
    assert "4 runs are too few" in results(four.tables()).loc[24, "reason"]


def test_runs_without_a_layer_of_a_component_are_not_compared():
    world = kindred(differs_by=1)
    tables = world.tables()
    tables["totals"] = tables["totals"].query("component != 'w2' or layer < 6")
    tables["totals"] = without(tables["totals"], objective="mt")
    assert "layers of some components" in results(tables).loc[24, "reason"]


def without(table, **facets):
    """Return the rows that do not have all of these values."""
    keep = [table[name] != value for name, value in facets.items()]
    return table[np.logical_or.reduce(keep)]


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
    assert found.loc[1, "verdict"] == "fails"


def test_a_claim_that_fails_for_one_objective_fails_without_another():
    world = made_to_hold(8)
    assert results(world.tables()).loc[8, "verdict"] == "holds"
    tables = {name: without(table, objective="mlm") for name, table in world.tables().items()}
    assert results(tables).loc[8, "verdict"] == "not applicable"
    world[MT].h["w1"][0] = 3
    tables = {name: without(table, objective="mlm") for name, table in world.tables().items()}
    assert results(tables).loc[8, "verdict"] == "fails"


PARTIAL = {
    "no runs": lambda tables: {name: table.iloc[:0] for name, table in tables.items()},
    "no curves": lambda tables: tables | {"curves": tables["curves"].iloc[:0]},
    "no milestones": lambda tables: tables | {"milestones": tables["milestones"].iloc[:0]},
    "no heads": lambda tables: tables | {"totals": tables["totals"].query("head == 0")},
    "a head less": lambda tables: (
        tables | {"totals": tables["totals"].query("not (head == 2 and layer == 3)")}
    ),
    "no embeddings": lambda tables: {n: t.query("layer > 0") for n, t in tables.items()},
    "no keys": lambda tables: {n: t.query("component != 'key'") for n, t in tables.items()},
    "a key less": lambda tables: {
        n: t.query("component != 'key' or layer != 4") for n, t in tables.items()
    },
    "no decoder": lambda tables: {n: t.query("stack != 'decoder'") for n, t in tables.items()},
    "one window": lambda tables: tables | {"curves": tables["curves"].query("update == 10")},
    "nothing reached": lambda tables: (
        tables | {"milestones": tables["milestones"].assign(t90=np.nan)}
    ),
    "no highs": lambda tables: tables | {"curves": tables["curves"].assign(high=np.nan)},
    "nothing learned": lambda tables: tables | {"totals": tables["totals"].assign(lca=0.0)},
    "all is lost": lambda tables: tables | {"totals": tables["totals"].assign(lca=1.0)},
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
    found = results(PARTIAL["no curves"](World().tables()))
    assert "no roughness" in found.loc[17, "reason"]
    found = results(PARTIAL["no heads"](World().tables()))
    assert "no heads of key" in found.loc[20, "reason"]


@pytest.mark.parametrize("layers", [2, 4, 6, 24])
@pytest.mark.filterwarnings("error")
def test_other_depths_are_scaled_or_too_shallow(layers):
    world = World(layers=layers)
    found = results(world.tables())
    assert ("too few" in found.loc[2, "reason"]) == (layers == 2)
    spans = {4: (1, 3), 6: (1, 5), 24: (4, 20)}
    if layers in spans:
        first, last = spans[layers]
        world[MLM].set(ATTENTION, [*[2] * first, *[1] * (last - first), *[3] * (layers - last)])
        assert results(world.tables()).loc[2, "verdict"] == "holds"


def test_estimators_are_tested_apart_and_in_their_order():
    held, flat = made_to_hold(2).tables("next_batch"), World().tables("own_batch")
    tables = {name: pd.concat([held[name], flat[name]]) for name in held}
    tables["totals"] = pd.concat([tables["totals"], World().tables("newest")["totals"]])
    found = claims.evaluate(**tables, main=MAIN, resamples=0).set_index(["estimator", "claim"])
    assert list(found.index.unique("estimator")) == ["own_batch", "next_batch", "newest"]
    verdicts = found["verdict"].xs(2, level="claim")
    assert list(verdicts) == ["fails", "holds", "fails"]
    assert found.loc[("newest", 14), "verdict"] == "not applicable"


def test_other_variants_are_left_out():
    world = World((MLM, CLM, MT, (*MLM[:3], "post_norm", 1)))
    world[(*MLM[:3], "post_norm", 1)].h["key"][3] = -1
    found = results(world.tables())
    assert found.loc[23, "verdict"] == "holds"
    assert "post_norm" not in " ".join(found["runs"])


def noisy(runs=MAIN_RUNS, scale=0.05):
    """Return a world in which claim 5 holds, with noise between blocks and between windows."""
    world, rng = World(runs), np.random.default_rng(3)
    for run, model in world.runs.items():
        for name in COMPONENTS:
            model.h[name] = 1 + scale * rng.normal(size=LAYERS)
            course = 1 + 5 * scale * rng.normal(size=(LAYERS, WINDOWS))
            model.course[name] = course / course.sum(axis=1, keepdims=True)
        if run[1] == "mt":
            for name in ("value", "out"):
                model.h[name][[0, 5]] += 2
    return world


def test_the_interval_over_updates_holds_the_value_and_is_the_same_each_time():
    tables = noisy().tables()
    first, second = (results(tables, resamples=99) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    row = first.loc[5]
    assert row["interval"] == "updates"
    assert row["low"] < row["value"] < row["high"]
    assert set(first.query("interval != ''").index) <= {*range(1, 13), 16, 18}


def test_the_interval_over_updates_is_as_wide_as_the_noise():
    """A window's noise is 0.25 of its 1/100; the value is of an end, 3, and four layers of 1."""
    row = results(noisy().tables(), resamples=399).loc[5]
    mean = (3 + 1 + 1 + 1 + 1 + 3) / 6
    deviation = 0.25 / np.sqrt(WINDOWS) * np.hypot(3, 1 / np.sqrt(4)) / mean
    assert 0.5 < (row["high"] - row["low"]) / (2 * 1.96 * deviation) < 1.5


def test_the_course_of_training_is_hardly_taken_for_noise(monkeypatch):
    """There is none: layers only learn at different times, which any window for any would hide."""
    world = World()
    change(MT, ["value", "out"], at=ENCODER, to=[3, 1, 1, 1, 1, 3])(world)
    course = np.tile(2 * DECLINE / WINDOWS, (LAYERS, 1))
    course[1:5] = course[1:5, ::-1]
    for name in COMPONENTS:
        world[MT].course[name] = course
    widths = []
    for neighbours in (evidence.NEIGHBOURS, WINDOWS):
        monkeypatch.setattr(evidence, "NEIGHBOURS", neighbours)
        row = results(world.tables(), resamples=199).loc[5]
        widths.append(row["high"] - row["low"])
    assert 0 < widths[0] < widths[1] / 3


def test_the_interval_is_over_seeds_where_there_are_three():
    runs = [(*run[:4], seed) for run in MAIN_RUNS for seed in (1, 2, 3)]
    world = noisy(runs)
    found = results(world.tables(), resamples=99)
    row = found.loc[5]
    assert (row["interval"], len(row["runs"].split())) == ("seeds", 3)
    value = [world[run].h["value"] for run in runs if run[1] == "mt"]
    mean = np.mean(value, axis=0)[ENCODER]
    margin = (min(mean[0], mean[5]) - mean[1:5].mean()) / mean.mean()
    assert f"value: ends over middle: {margin:.4g}" in row["values"]
    assert row["low"] <= row["value"] <= row["high"]
    assert found.loc[14, "interval"] in ("seeds", "")


def test_two_seeds_are_averaged():
    world = World([(*run[:4], seed) for run in MAIN_RUNS for seed in (1, 2)])
    world[(*MT[:4], 2)].set(FEED_FORWARD, 29)
    row = results(world.tables()).loc[1]
    assert "mt: 15" in row["values"]


def test_the_page_has_a_row_per_claim_and_a_column_per_estimator():
    tables = made_to_hold(5).tables("own_batch")
    more = World().tables("next_batch")
    tables = {name: pd.concat([table, more[name]]) for name, table in tables.items()}
    found = claims.evaluate(**tables, main=MAIN, resamples=99)
    page = markdown.write(found)
    counts = {
        name: (rows["verdict"].eq("holds").sum(), rows["verdict"].eq("not applicable").sum())
        for name, rows in found.groupby("estimator", sort=False)
    }
    first = page.splitlines()[0]
    for name, (held, untested) in counts.items():
        assert f"{name}: {held} of 24 hold, {untested} cannot be tested" in first
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) == 24 + 2
    assert [cell.strip() for cell in rows[0].split("|")[-3:-1]] == ["own_batch", "next_batch"]
    cells = [cell.strip() for cell in rows[2 + 4].split("|")]
    assert cells[1] == "5"
    assert cells[4] == "✓ 1.20 [1.20, 1.20]"
    assert cells[5] == "✗ 0 [0, 0]"
    assert [cell.strip() for cell in rows[-1].split("|")][4] == "–"
    assert "- 24 (own_batch, next_batch): 3 runs are too few" in page
    assert all(f"{number}. " in page for number in range(1, 25))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12.345, "12.3"), (-0.012345, "−0.0123"), (1234.5, "1234"), (np.inf, "∞")],
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert markdown._number(value) == text
