"""Estimates against the truth: sums of a log's columns, and statistics with known answers."""

import numpy as np
import pandas as pd
import pytest

import synthetic
from closer_look.analysis import agreement as module
from closer_look.analysis.agreement import CELL, agreement, of_cells, summary, table

UPDATES = 90
WINDOW = 3
SIZE = dict(layers=2, heads=2, width=16, vocabulary=40)
RUN = synthetic.facets(0)


def write_log(folder, probe_every):
    path = folder / "log.parquet"
    synthetic.write_log(path, "mt", UPDATES, probe_every=probe_every, **SIZE)
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log"), probe_every=1)


@pytest.fixture(scope="module")
def raw(log):
    return pd.read_parquet(log).set_index("update").select_dtypes("number").astype(float)


def cell(frame, estimator, block, head=0):
    stack, layer, component = block.split(".")
    chosen = dict(estimator=estimator, stack=stack, layer=int(layer), component=component)
    chosen["head"] = head
    return frame[(frame[list(chosen)] == list(chosen.values())).all(axis=1)]


@pytest.mark.parametrize(
    ("estimator", "group"),
    [("own_batch", "own_batch"), ("next_batch", "next_batch"), ("held_out", "probe_held_out")],
)
@pytest.mark.parametrize(("block", "head"), [("decoder.1.w1", 0), ("encoder.1.key", 2)])
def test_windows_hold_the_sums_of_the_estimate_and_of_the_truth(
    log, raw, estimator, group, block, head
):
    found = cell(agreement(log), estimator, block, head).set_index("update")
    column = f"sum/{block}/{head}" if head else f"sum/{block}"
    ends = np.repeat(range(WINDOW, UPDATES + 1, WINDOW), WINDOW)
    for values, name in (("lca", group), ("truth", "probe_train")):
        expected = raw[f"{name}/{column}"].groupby(ends).sum()
        np.testing.assert_allclose(found[values], expected, rtol=1e-6)
        assert found.index.tolist() == expected.index.tolist()


def test_every_block_and_head_is_there_by_every_estimator(log):
    found = agreement(log)
    blocks = synthetic.blocks("mt", **SIZE)
    cells = len(blocks) + blocks["heads"][blocks["heads"] > 1].sum()
    assert len(found[CELL].drop_duplicates()) == cells
    assert list(found["estimator"].unique()) == [
        *("own_batch", "next_batch", "trapezoid", "held_out")
    ]


@pytest.mark.parametrize("probe_every", [0, 2])
def test_a_run_of_which_not_every_update_was_probed_has_an_empty_table(tmp_path, probe_every):
    found = agreement(write_log(tmp_path, probe_every))
    assert found.empty and "truth" in found
    assert of_cells(found).empty and summary(found).empty
    assert table(found.assign(**RUN)).empty


def test_only_the_probed_updates_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NEARLY", 0.4)
    path = write_log(tmp_path, probe_every=2)
    raw = pd.read_parquet(path).set_index("update")
    is_probed = raw["probe_train/after"].notna()
    assert is_probed.sum() == 46
    found = cell(agreement(path), "own_batch", "decoder.1.w2")
    assert found["update"].iloc[-1] == UPDATES
    expected = raw.loc[is_probed, "own_batch/sum/decoder.1.w2"].astype(float).sum()
    assert found["lca"].sum() == pytest.approx(expected, rel=1e-6)


def made_up(lca, truth, head=0):
    """The table of one run of which blocks (or heads) and windows have these values."""
    cells, windows = np.shape(lca)
    return pd.DataFrame(
        {
            "estimator": "own_batch",
            "stack": "encoder",
            "layer": np.repeat(np.arange(cells), windows),
            "component": "w1",
            "head": head,
            "update": np.tile(np.arange(1, windows + 1), cells),
            "lca": np.ravel(lca),
            "truth": np.ravel(truth),
        }
    )


def courses(shares, windows=20):
    """Contributions that fall over the windows, as (cells, windows)."""
    return -np.outer(shares, 1 / np.arange(1, windows + 1))


def test_twice_the_truth_has_the_right_shares():
    truth = courses([0.5, 0.3, 0.15, 0.05])
    (row,) = summary(made_up(2 * truth, truth)).to_dict("records")
    for name, value in {"ratio": 2, "slope": 2, "rank": 1, "distance": 0, "chance": 0}.items():
        assert row[name] == pytest.approx(value)
    assert row["ratio_low"] == pytest.approx(2) == row["ratio_high"]
    assert row["cells"] == 4 and row["lca"] == pytest.approx(2 * truth.sum())


def test_the_distance_is_the_share_that_is_in_the_wrong_place():
    truth, lca = courses([0.5, 0.3, 0.2]), courses([0.4, 0.25, 0.35])
    (row,) = summary(made_up(lca, truth)).to_dict("records")
    assert row["distance"] == pytest.approx(0.15)
    assert row["ratio"] == pytest.approx(1)
    assert row["slope"] == pytest.approx((0.2 + 0.075 + 0.07) / (0.25 + 0.09 + 0.04))
    assert row["rank"] == pytest.approx(0.5)


def test_heads_are_a_level_of_their_own():
    blocks = made_up(courses([0.5, 0.5]), courses([0.5, 0.5]))
    heads = made_up(courses([0.3, 0.1]), courses([0.2, 0.2]), head=1)
    found = summary(pd.concat([blocks, heads])).set_index("level")
    assert found["distance"].to_dict() == pytest.approx({"block": 0, "head": 0.25})


def test_the_error_is_that_of_the_sum():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (50, 36))
    found = of_cells(made_up(noise - 1, np.full_like(noise, -1.0)))
    assert np.sqrt((found["error"] ** 2).mean()) == pytest.approx(0.6, rel=0.1)
    np.testing.assert_allclose(found["lca"] - found["truth"], noise.sum(axis=1))


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_intervals_cover_the_truth_as_often_as_they_say(wrong, monkeypatch):
    """With noise of the batches, on top of shares of which so much is in the wrong place."""
    monkeypatch.setattr(module, "REPLICATES", 400)
    rng = np.random.default_rng(0)
    true = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    estimated = true + wrong * np.array([1, 0, 0, -1, 0])
    true, estimated = courses(true, 40), 1.5 * courses(estimated, 40)
    expected = {"ratio": 1.5, "distance": wrong}
    expected["slope"] = (true * estimated).sum() / (true**2).sum()
    inside = dict.fromkeys(expected, 0)
    for _ in range(100):
        noisy = estimated + rng.normal(0, 0.03, estimated.shape)
        (row,) = summary(made_up(noisy, true)).to_dict("records")
        for name, value in expected.items():
            inside[name] += row[f"{name}_low"] <= value <= row[f"{name}_high"]
    assert min(inside.values()) >= 90, inside


def test_the_table_has_a_row_for_each_run_level_and_estimator(log):
    runs = [agreement(log).assign(**RUN | {"seed": seed}) for seed in (1, 2)]
    found = table(pd.concat(runs))
    assert len(found) == 2 * 2 * 4
    assert list(found)[:7] == [*RUN, "level", "estimator"]
    assert found["distance"].between(found["distance_low"], found["distance_high"]).all()
