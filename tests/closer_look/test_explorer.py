"""What the page's explorer shows: curves in few bytes, and their index."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

import report_tables
from closer_look.drawing.style import COLOURS
from closer_look.page.curves import Buffer, add_curves, regroup
from closer_look.page.explorer import Explorer

MLM, ESTONIAN, CLM, MT = report_tables.RUNS


def decode(buffer, place, width):
    """Read a matrix as the page's data.js does."""
    scales = np.array(place["scales"])
    start, size = place["offset"], len(scales) * width
    low, high = np.frombuffer(bytes(buffer.bytes[start : start + 2 * size]), np.uint8).reshape(
        2, -1
    )
    halves = (low + high.astype(np.uint16) * 256).astype("<u2").view("<f2")
    return halves.reshape(-1, width).astype(float) * scales[:, None]


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9))
def test_fewer_windows_keep_means_and_extremes(windows, most, size):
    updates = windows * size - size // 2  # the last window is shorter
    ends = np.append(np.arange(size, updates, size), updates)
    values = np.random.default_rng(0).standard_normal((3, len(ends)))
    widths = np.diff(ends, prepend=0)
    means, new_ends = regroup(values, ends, most, "sum")
    assert means.shape == (3, len(new_ends)) and len(new_ends) <= most
    assert new_ends[-1] == updates and set(new_ends) <= set(ends)
    new_widths = np.diff(new_ends, prepend=0)
    np.testing.assert_allclose(means @ new_widths, values @ widths)
    assert (regroup(values, ends, most, "low")[0].min(axis=1) == values.min(axis=1)).all()
    assert (regroup(values, ends, most, "high")[0].max(axis=1) == values.max(axis=1)).all()


def test_the_buffer_keeps_three_digits_of_rows_of_any_magnitude():
    values = np.random.default_rng(1).lognormal(size=(4, 50)) * [[1e-12], [1e-3], [1.0], [1e9]]
    values *= np.random.default_rng(2).choice([-1, 1], values.shape)
    buffer = Buffer()
    buffer.add(np.ones((2, 3)))
    place = buffer.add(values)
    np.testing.assert_allclose(decode(buffer, place, 50), values, rtol=1e-3)


def test_what_is_missing_or_infinite_is_missing_in_the_buffer():
    buffer = Buffer()
    place = buffer.add(np.array([[np.nan, np.inf, 2.0], [np.nan] * 3, [0.0] * 3]))
    read = decode(buffer, place, 3)
    np.testing.assert_array_equal(read, [[np.nan, np.nan, 2], [np.nan] * 3, [0] * 3])


def test_curves_of_each_estimator_have_the_statistics_it_has():
    curves = report_tables.tables(MLM)["curves"]
    statistics = ("sum", "low", "positive")
    entries = {e["estimator"]: e for e in add_curves(curves, statistics, 20, Buffer())}
    assert {name: set(entry["statistics"]) for name, entry in entries.items()} == {
        "own_batch": set(statistics),
        "next_batch": set(statistics),
        "trapezoid": {"sum", "low"},
    }
    assert entries["own_batch"]["ends"] == list(range(20, 401, 20))


def explored(runs=report_tables.RUNS, points=50, **sizes):
    explorer = Explorer(points)
    for run in runs:
        explorer.add(run.languages, run is MLM, report_tables.tables(run, **sizes))
    return explorer


def test_layers_are_numbered_through_encoder_and_decoder():
    index = explored().index()
    names = ["decoder outside", "encoder 1", "encoder 2", "decoder 1", "decoder 2"]
    assert index["runs"][0]["layers"] == {0: "outside", 1: "1", 2: "2", 3: "3", 4: "4"}
    assert index["runs"][3]["layers"] == dict(enumerate(names))
    totals = pd.DataFrame(index["totals"])
    expected = report_tables.tables(MT)["totals"].query("stack == 'decoder' and layer == 2")
    found = totals.query("run == 3 and layer == 4")
    assert found["lca"].to_list() == pytest.approx(expected["lca"].to_list(), rel=1e-5)


def test_what_is_outside_the_layers_is_kept_apart_by_stack():
    tables = report_tables.tables(MT)
    outside = tables["totals"].query("layer == 0")
    tables["totals"] = pd.concat([tables["totals"], outside.assign(stack="encoder", lca=-7.0)])
    explorer = Explorer(50)
    explorer.add("untied", True, tables)
    index = explorer.index()
    names = index["runs"][0]["layers"]
    assert (names[0], names[-1]) == ("encoder outside", "decoder outside")
    totals = pd.DataFrame(index["totals"])
    assert set(totals.query("layer == 0")["lca"]) == {-7}


def test_a_probe_gives_an_estimator_for_each_set():
    index = explored([MLM]).index()
    names = [entry["estimator"] for entry in index["curves"]]
    assert names[-2:] == ["probe, training text", "probe, held-out text"]
    tables = report_tables.tables(MLM)
    tables["probes"] = tables["probes"].head(0)
    explorer = Explorer(50)
    explorer.add("no probe", True, tables)
    assert list(explorer.index()["estimators"]) == list(report_tables.ESTIMATORS)


def test_the_index_is_strict_json_whatever_is_missing():
    tables = report_tables.tables(CLM)
    tables["losses"].loc[3, "loss"] = np.nan
    explorer = Explorer(50)
    explorer.add("with gaps", True, tables)
    index = json.loads(json.dumps(explorer.index(), allow_nan=False))
    assert None in index["losses"]["loss"] and None in index["milestones"]["t50"]


def test_the_papers_components_come_first():
    components = list(explored().index()["components"])
    assert components[:7] == ["key", "query", "value", "out", "w1", "w2", "cross_key"]
    assert components[-2:] == ["embeddings", "norms"]


def test_main_runs_have_their_objectives_colour_and_others_lighter_ones():
    colours = [run["colour"] for run in explored().index()["runs"]]
    assert colours[0] == COLOURS["mlm"]
    assert len(set(colours)) == 4
    assert sum(to_rgb(colours[0])) < sum(to_rgb(colours[1]))
