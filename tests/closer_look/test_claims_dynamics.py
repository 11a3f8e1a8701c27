"""Claims 13 to 19, 25 and 26: worlds in which each holds, in which each of its inequalities fails,
and in which it is undecided."""

import numpy as np
import pytest

from closer_look.vocabulary import ATTENTION, COMPONENTS, FEED_FORWARD
from worlds import (
    CLM,
    DECODER,
    EVEN,
    MAIN_RUNS,
    MLM,
    MT,
    WINDOWS,
    World,
    all_of,
    change,
    check,
    embeddings,
    results,
    swing,
    until,
    values,
)

QUERIES = ("key", "query", "value")

EARLY = np.repeat([0.8 / 25, 0.2 / 75], [25, 75])
"""A course with 80 % of the contribution in the first quarter of the updates."""
DECLINE = np.linspace(1, 0, WINDOWS)
ZIGZAG = np.repeat([1.0, -1] * 10, 5)
"""From one block of windows to the next."""
WAVE = 1 + 0.5 * np.sin(np.linspace(0, 12, WINDOWS))
HUMP = 1 - 0.5 * np.cos(np.linspace(0, 6, WINDOWS))


def ends(windows):
    """Return courses, (layer, window), that end at these windows."""
    return np.array([until(window) for window in windows])


LATER = ends(range(40, 88, 4))  # from layer to layer
SOON = until(40)


def roughen(run, size, at=slice(6, 10)):
    return change(run, COMPONENTS, "course", at=at, to=DECLINE / 50 + size * ZIGZAG / WINDOWS)


CASES = {
    13: (
        all_of(
            *(change(run, COMPONENTS, "course", to=EARLY) for run in MAIN_RUNS),
            *(embeddings(run, "course", EARLY) for run in MAIN_RUNS),
        ),
        {
            "mt: early / later": change(MT, COMPONENTS, "course", to=EARLY[::-1]),
            "clm: early / later": all_of(
                embeddings(CLM, "h", 900), embeddings(CLM, "course", EARLY[::-1])
            ),
        },
        swing(5000),
    ),
    14: (
        all_of(
            *(change(run, COMPONENTS, "course", to=LATER) for run in (MLM, CLM)),
            change(MT, COMPONENTS, "course", to=np.vstack([LATER[::2], LATER[::2]])),
        ),
        {
            "clm decoder": change(CLM, COMPONENTS, "course", to=LATER[::-1]),
            "mt decoder": change(MT, COMPONENTS, "course", at=DECODER, to=LATER[10::-2]),
        },
        swing(9),
    ),
    15: (
        all_of(
            embeddings(MLM, "course", EARLY),
            change(MLM, COMPONENTS, to=[1, 0.5, *[0.01] * 7, 1, 1, 1]),
            change(MLM, COMPONENTS, "course", to=WAVE / WAVE.sum()),
        ),
        {
            "embeddings: early / later": embeddings(MLM, "course", EARLY[::-1]),
            "attention: early, outer over middle": change(
                MLM, QUERIES, "course", at=[0, 9, 10, 11], to=until(100) * DECLINE[::-1] ** 9
            ),
            "feed-forward: oscillation, outer / middle": change(
                MLM, FEED_FORWARD, "course", at=slice(2, 9), to=EVEN + 300 * (WAVE - 1) / WINDOWS
            ),
            "feed-forward: contribution, middle / outer": change(
                MLM, ["w1"], at=slice(2, 9), to=0.9
            ),
        },
        swing(0.5),
    ),
    16: (
        all_of(
            *(change(run, COMPONENTS, "course", to=WAVE / WAVE.sum()) for run in (CLM, MT)),
            change(MLM, COMPONENTS, "course", to=HUMP / HUMP.sum()),
        ),
        {
            "r(CLM, MT) − r(CLM, MLM)": change(CLM, COMPONENTS, "course", to=HUMP / HUMP.sum()),
            "r(CLM, MT) − r(MT, MLM)": change(MT, COMPONENTS, "course", to=HUMP / HUMP.sum()),
        },
        swing(9),
    ),
    17: (
        all_of(roughen(CLM, 2), roughen(MT, 0)),
        {"CLM / MT": all_of(roughen(CLM, 0), roughen(MT, 2))},
        swing(40),
    ),
    18: (
        all_of(
            change(CLM, QUERIES, at=slice(6, 9), to=2),
            change(CLM, FEED_FORWARD, at=slice(6, 12), to=2),
        ),
        {
            "attention: layers 7-9 over others": change(CLM, ["key"], at=9, to=90),
            "feed-forward: layers 7-12 over others": change(CLM, ["w1"], at=0, to=90),
        },
        swing(20),
    ),
    19: (
        all_of(
            *(change(run, QUERIES, "course", to=SOON) for run in (CLM, MT)),
            *(change(run, FEED_FORWARD, to=9) for run in (CLM, MT)),
            *(change(run, FEED_FORWARD, "course", to=until(60)) for run in (CLM, MT)),
            *(change(run, FEED_FORWARD, at=slice(9, 12), to=20) for run in (CLM, MT)),
            *(
                change(run, FEED_FORWARD, "course", at=slice(9, 12), to=until(90))
                for run in (CLM, MT)
            ),
        ),
        {
            "mt: later": change(MT, FEED_FORWARD, "course", at=slice(0, 9), to=until(20)),
            "clm: later, layers 10-12 over others": change(
                CLM, FEED_FORWARD, "course", at=slice(9, 12), to=until(30)
            ),
            "clm: more": change(CLM, QUERIES, at=slice(0, 9), to=90),
            "mt: more, layers 10-12 over others": change(MT, FEED_FORWARD, at=11, to=-60),
        },
        swing(20),
    ),
    25: (
        change(CLM, COMPONENTS, "course", to=until(10)),
        {
            "attention: share of layers": change(
                CLM, ATTENTION, "course", at=slice(0, 3), to=until(60)
            ),
            "feed-forward: share of layers": change(
                CLM, FEED_FORWARD, "course", at=slice(9, 12), to=until(60)
            ),
        },
        swing(20),
    ),
    26: (
        change(CLM, FEED_FORWARD, at=slice(2, 10), to=2),
        {"middle over others": change(CLM, FEED_FORWARD, at=[0, 11], to=9)},
        swing(20),
    ),
}
"""By claim: what makes it hold in a flat world; by inequality, what breaks it; what blurs it."""

BREAKS = [(number, label) for number, (_, breaks, _) in CASES.items() for label in breaks]


@pytest.mark.parametrize("number", CASES)
def test_a_claim_holds_where_it_should(number):
    row = check((number, CASES[number][0]), "holds")
    assert row["hold"] == row["inequalities"]


@pytest.mark.parametrize(("number", "label"), BREAKS)
def test_a_claim_fails_by_the_inequality_that_was_broken(number, label):
    holds, breaks, _ = CASES[number]
    row = check((number, holds, breaks[label]), "fails", resamples=49)
    assert label in row["decides"].split("; ")


@pytest.mark.parametrize("number", CASES)
def test_a_claim_is_undecided_where_windows_differ_too_much(number):
    row = check((number, CASES[number][0], CASES[number][2]), "undecided")
    assert row["low"] <= row["threshold"] <= row["high"]


def test_values_are_those_computed_by_hand():
    world = World()
    all_of(
        *(change(run, COMPONENTS, "course", to=EARLY) for run in MAIN_RUNS),
        change(CLM, COMPONENTS, to=2),
        embeddings(CLM, "h", 6),
        change(CLM, QUERIES, "course", to=until(40)),
        change(CLM, FEED_FORWARD, "course", to=until(80)),
    )(world)
    found = results(world, numbers=["13", "19"])
    early, late = 12 * 6 * 0.8 + 0.25, 12 * 6 * 0.2 + 0.75  # the layers; the embeddings, evenly
    assert values(found.loc["13"])["mlm: early / later"] == pytest.approx(
        (early / 25) / (late / 75), rel=1e-3
    )
    assert values(found.loc["19"])["clm: later"] == pytest.approx(80 / 40, rel=1e-3)
    more = values(found.loc["19"])["clm: more"]
    assert more == pytest.approx((2 * 2 - 3 * 2) / 2, rel=1e-3)


def test_embeddings_are_compared_with_themselves_only():
    """They have a scale of their own in the paper's figure."""
    world = World()
    CASES[15][0](world)
    one = values(results(world, numbers=["15"]).loc["15"])
    world[MLM].embeddings["h"] = 1e6
    assert values(results(world, numbers=["15"]).loc["15"]) == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize("number", ["15", "18", "19"])
def test_the_output_projection_is_no_part_of_attention_in_section_4_2(number):
    world = World()
    CASES[int(number)][0](world)
    for run in MAIN_RUNS:
        world[run].set(["out"], 1e6)
    assert results(world, numbers=[number]).loc[number, "verdict"] == "holds"


def test_layers_that_gained_nothing_have_no_place_in_the_order():
    world = World()
    CASES[14][0](world)
    change(MLM, COMPONENTS, at=slice(0, 3), to=-1)(world)
    assert results(world, numbers=["14"]).loc["14", "verdict"] == "holds"
    change(MLM, COMPONENTS, to=-1)(world)
    assert "too few" in results(world, numbers=["14"]).loc["14", "reason"]
