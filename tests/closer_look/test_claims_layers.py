"""Claims 1 to 12: worlds in which each holds, in which each of its inequalities fails, and in which
it is undecided."""

import numpy as np
import pytest

from closer_look.vocabulary import ATTENTION, COMPONENTS, FEED_FORWARD
from worlds import (
    CLM,
    CUP,
    DECODER,
    ENCODER,
    MAIN_RUNS,
    MLM,
    MT,
    RAMP,
    World,
    all_of,
    change,
    check,
    results,
    swing,
    values,
)

CASES = {
    1: (
        all_of(*(change(run, FEED_FORWARD, to=20) for run in MAIN_RUNS)),
        {"mt": change(MT, FEED_FORWARD, to=9), "clm": change(CLM, ATTENTION, to=2.1)},
        swing(9, CLM),
    ),
    2: (
        change(MLM, ATTENTION, to=[2, 2, *[0.5] * 8, 4, 4]),
        {
            "out: last over first layers": change(MLM, ["out"], at=slice(10, 12), to=1.9),
            "key: first over middle layers": change(MLM, ["key"], at=5, to=13),
        },
        swing(9),
    ),
    3: (
        all_of(change(CLM, ATTENTION, to=CUP), change(MLM, ATTENTION, to=np.eye(12)[11])),
        {
            "key: layer 1 over 2-5": change(CLM, ["key"], at=0, to=0.9),
            "query: layers 6-10 over 2-5": change(CLM, ["query"], at=slice(5, 10), to=0.9),
            "out: drop in the last layer": change(CLM, ["out"], at=11, to=2.6),
            "value: evenness over MLM's": change(MLM, ["value"], to=1),
        },
        swing(9, CLM),
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
        swing(9),
    ),
    5: (
        change(MT, ["value", "out"], at=ENCODER, to=[3, 1, 1, 1, 1, 3]),
        {
            "value: ends over middle": change(MT, ["value"], at=0, to=0.9),
            "out: ends over middle": change(MT, ["out"], at=5, to=0.9),
        },
        swing(9),
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
        swing(9),
    ),
    7: (
        all_of(change(MT, ["key", "query"], to=RAMP), change(MT, ["value", "out"], to=RAMP % 3)),
        {
            "key and query over other pairs": change(MT, ["query"], to=RAMP % 3),
            "value and out over other pairs": change(MT, ["out"], to=RAMP),
        },
        swing(9),
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
        swing(3, CLM),
    ),
    9: (
        change(MLM, FEED_FORWARD, to=[3, *[1] * 8, 3, 5, 7]),
        {
            "w1: first over middle layers": change(MLM, ["w1"], at=0, to=0.9),
            "w2: final slope": change(MLM, ["w2"], to=[9, *np.sqrt(RAMP[:11])]),
        },
        swing(20),
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
        swing(9),
    ),
    11: (
        change(CLM, FEED_FORWARD, to=[1, 2, 3, 5, 7, 9, 11, 12, 13, 14, 15, 16]),
        {
            "w2: least increment": change(CLM, ["w2"], at=11, to=14.9),
            "w1: jumps in layers 4-7": change(CLM, ["w1"], to=RAMP**2),
        },
        swing(9),
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
        swing(9),
    ),
}
"""By claim: what makes it hold in a flat world; by inequality, what breaks it; what blurs it."""

BREAKS = [(number, label) for number, (_, breaks, _) in CASES.items() for label in breaks]


@pytest.mark.parametrize("number", CASES)
def test_a_claim_holds_where_it_should(number):
    row = check((number, CASES[number][0]), "holds")
    assert row["hold"] == row["inequalities"]
    assert row["low"] <= row["value"] <= row["high"]


@pytest.mark.parametrize(("number", "label"), BREAKS)
def test_a_claim_fails_by_the_inequality_that_was_broken(number, label):
    holds, breaks, _ = CASES[number]
    row = check((number, holds, breaks[label]), "fails", resamples=49)
    assert label in row["decides"].split("; ")
    assert row["hold"] < row["inequalities"]


@pytest.mark.parametrize("number", CASES)
def test_a_claim_is_undecided_where_windows_differ_too_much(number):
    row = check((number, CASES[number][0], CASES[number][2]), "undecided")
    assert row["low"] < row["threshold"] < row["high"]
    assert row["part"] in row["decides"].split("; ")


def test_values_are_those_computed_by_hand():
    world = World()
    all_of(
        *(change(run, FEED_FORWARD, to=20) for run in MAIN_RUNS),
        change(CLM, ["key", "query"], to=3),
        change(MT, ["value", "out"], at=ENCODER, to=[3, 1, 1, 1, 1, 3]),
    )(world)
    found = results(world, numbers=["1", "5"])
    assert values(found.loc["1"]) == pytest.approx({"mlm": 20, "clm": 20 / 2, "mt": 20})
    ends_over_middle = (3 - 1) / ((3 + 1 + 1 + 1 + 1 + 3) / 6)
    assert values(found.loc["5"])["out: ends over middle"] == pytest.approx(ends_over_middle)


def test_what_gains_nothing_is_exceeded_by_any_gain_and_exceeds_nothing():
    world = World()
    change(MLM, ATTENTION, to=-1)(world)
    all_of(*(change(run, COMPONENTS, to=0) for run in (CLM, MT)))(world)
    assert values(results(world, numbers=["1"]).loc["1"]) == {
        "mlm": np.inf,
        "clm": -np.inf,
        "mt": -np.inf,
    }
