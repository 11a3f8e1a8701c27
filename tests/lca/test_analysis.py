import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthetic
from closer_look.analysis.losses import losses
from closer_look.analysis.milestones import milestones
from lca.analysis import logs
from lca.analysis.curves import curves, head_curves
from lca.analysis.totals import totals
from lca.analysis.windows import Windows
from lca.files import LogError

UPDATES = 2500  # 833 windows of 3 updates, and one of 1
WINDOW = 3
LABELS = ["stack", "layer", "component"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    synthetic.write_log(path, "mt", UPDATES, layers=4, heads=2, width=16, vocabulary=40)
    return path


@pytest.fixture(scope="module")
def raw(log):
    """All columns, in double precision, by pandas alone."""
    return pd.read_parquet(log).set_index("update").astype(float)


def write_log(path, sums, updates=None, strata=None, **groups):
    """Write a log of the own-batch sums of blocks, called by their component, and other groups."""
    names = list(sums)
    blocks = [
        {"name": name, "stack": "model", "layer": 0, "component": name, "heads": 1, "elements": 8}
        for name in names
    ]
    length = len(sums[names[0]])
    arrays = {"update": pa.array(updates or range(1, length + 1), pa.int32())}
    if strata:
        arrays["curvature/updates"] = pa.array(strata, pa.int32())
    for group, of_blocks in {"own_batch": sums, **groups}.items():
        for name, values in of_blocks.items():
            arrays[f"{group}/sum/{name}"] = pa.array(values, pa.float32())
    table = pa.table(arrays).replace_schema_metadata({"blocks": json.dumps(blocks), "about": "{}"})
    pq.write_table(table, path)
    return path


def by_window(raw):
    """Group rows by the last update of their window."""
    return raw.groupby(np.minimum(((raw.index - 1) // WINDOW + 1) * WINDOW, UPDATES))


def column(frame, values, estimator, block):
    """Return the values of a block of a tidy table over its updates."""
    stack, layer, component = block.split(".")
    rows = frame[(frame[["stack", "component"]] == [stack, component]).all(axis=1)]
    rows = rows[(rows["estimator"] == estimator) & (rows["layer"] == int(layer))]
    return rows.set_index("update")[values]


def test_windows_are_equal_but_for_the_last():
    windows = Windows(10, most=4)
    assert windows.size == 3
    assert windows.last.tolist() == [3, 6, 9, 10]
    row = np.array([1, 2, 6, 0, 0, 0, -1, -2, -3, 5], dtype=np.float32)
    assert windows.mean(row).tolist() == [3, 0, -2, 5]
    assert windows.low(row).tolist() == [1, 0, -3, 5]
    assert windows.high(row).tolist() == [6, 0, -1, 5]


@pytest.mark.parametrize(("updates", "windows"), [(400, 400), (1000, 1000), (1001, 501)])
def test_a_run_has_at_most_a_thousand_windows(updates, windows):
    assert len(Windows(updates).last) == windows
    assert Windows(updates).last[-1] == updates


def test_a_mean_is_not_lost_in_rounding():
    row = np.full(3_000_000, 0.1, dtype=np.float32)
    assert Windows(len(row), most=1).mean(row)[0] == np.float32(0.1)


def slope_of(raw):
    """The slope of the curvature over next-batch less own-batch, by a library."""
    lags = ("next_batch", "own_batch", "curvature")
    end, own, curvature = (
        raw.filter(regex=f"^{lag}/sum/[^/]+$").sum(axis="columns") for lag in lags
    )
    weights = raw["curvature/updates"].fillna(0)
    at = weights > 0
    return np.polyfit((end - own)[at], curvature[at], 1, w=np.sqrt(weights[at]))[0]


def test_totals_are_the_sums_of_the_columns(log, raw):
    found = totals(log, head_curves(log))
    assert list(found) == ["estimator", *LABELS, "head", "elements", "lca", "se"]
    sums = raw.sum()
    expected = {
        name: sums[name]
        for name in sums.index
        if name.startswith(("own_batch/sum", "next_batch/sum"))
    }
    strata = raw["curvature/updates"]
    slope = slope_of(raw)
    for name in [name for name in sums.index if name.startswith("curvature/sum")]:
        end, own = (raw[name.replace("curvature", lag)] for lag in ("next_batch", "own_batch"))
        told = slope * (end - own)
        left = ((raw[name] - told) * strata).sum()  # as those measured stand for all updates
        expected[name.replace("curvature", "trapezoid")] = end.sum() - (told.sum() + left) / 2
    assert len(found) == len(expected)
    for row in found.itertuples():
        name = f"{row.estimator}/sum/{row.stack}.{row.layer}.{row.component}"
        assert row.lca == pytest.approx(
            expected[f"{name}/{row.head}" if row.head else name], rel=1e-5, abs=1e-6
        )


def test_curvature_stands_for_its_whole_stratum(tmp_path):
    """Also for the updates after the last stratum that is measured in the log."""
    ends, curvature = {"w1": [-1.0] * 7}, {"w1": [2, None, None, 4, 6, None, None]}
    strata = [1, None, None, 3, 2, None, None]
    path = tmp_path / "log.parquet"
    write_log(path, {"w1": [0] * 7}, next_batch=ends, curvature=curvature, strata=strata)
    found = curves(path).set_index("estimator")
    assert found.loc["trapezoid", "sum"].tolist() == [-2, -3, -3, -3, -4, -4, -4]
    assert found.loc["trapezoid", ["positive", "helping", "hurting"]].isna().all(axis=None)
    write_log(path, {"w1": [0] * 7}, next_batch=ends)
    assert logs.estimators(path) == ["own_batch", "next_batch"]


def test_a_jump_that_was_not_measured_is_told_from_both_batches(tmp_path):
    own, end = -np.linspace(1, 2, 60), np.linspace(0, 1, 60)
    end[43] = 9  # the step overshot
    curvature = [value if row % 3 == 2 else None for row, value in enumerate((end - own) / 4)]
    strata = [3 if row % 3 == 2 else None for row in range(60)]
    path = tmp_path / "log.parquet"
    write_log(path, {"w1": own}, next_batch={"w1": end}, curvature={"w1": curvature}, strata=strata)
    assert logs.curvature_slope(path) == pytest.approx(1 / 4, rel=1e-5)
    found = curves(path).query("estimator == 'trapezoid'")["sum"]
    np.testing.assert_allclose(found, end - (end - own) / 8, rtol=1e-5)


def test_the_heads_have_the_elements_of_their_block(log):
    found = totals(log, head_curves(log)).query("estimator == 'own_batch'")
    with_heads = found[found["head"] > 0].groupby(LABELS)["elements"].sum()
    blocks = found[found["head"] == 0].set_index(LABELS)["elements"]
    assert with_heads.equals(blocks[with_heads.index])
    assert blocks.sum() == synthetic.blocks("mt", 4, 2, 16, 40)["elements"].sum()


@pytest.mark.parametrize("block", ["encoder.1.key", "decoder.2.w1", "decoder.0.output"])
@pytest.mark.parametrize("estimator", ["own_batch", "next_batch"])
def test_curves_are_means_and_ranges_of_windows(log, raw, estimator, block):
    found = column(curves(log), ["sum", "low", "high"], estimator, block)
    expected = by_window(raw)[f"{estimator}/sum/{block}"].agg(["mean", "min", "max"])
    assert found.index.equals(expected.index)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_shares_are_counts_over_elements(log, raw):
    found = curves(log)
    elements = 16 * 64
    for statistic in ("helping", "hurting"):
        share = column(found, statistic, "own_batch", "encoder.2.w1")
        counts = by_window(raw)[f"own_batch/{statistic}/encoder.2.w1"].mean()
        np.testing.assert_allclose(share, counts / elements, rtol=1e-6)
        assert share.between(0.3, 0.7).all()
    positive = column(found, "positive", "own_batch", "encoder.2.w1")
    expected = by_window(raw)["own_batch/positive/encoder.2.w1"].mean()
    np.testing.assert_allclose(positive, expected, rtol=1e-6)


def test_what_an_estimator_does_not_have_is_missing(tmp_path):
    found = curves(write_log(tmp_path / "log.parquet", {"w1": [-1, 2], "w2": [3, 4]}))
    assert found["sum"].tolist() == [-1, 2, 3, 4]
    assert found["update"].tolist() == [1, 2, 1, 2]
    assert found[["positive", "helping", "hurting"]].isna().all(axis=None)


def test_without_heads_there_is_nothing_of_heads(tmp_path):
    path = write_log(tmp_path / "log.parquet", {"w1": [-1, 2]})
    assert len(head_curves(path)) == 0
    assert totals(path, head_curves(path))[["head", "lca"]].values.tolist() == [[0, 1]]


def test_the_standard_errors_of_totals_are_those_of_their_noise(log, raw):
    """The noise of a synthetic log is independent, and `Character.noise` times the true change."""
    found = totals(log, head_curves(log)).query("estimator == 'next_batch' and head == 0")
    ratios = []
    for row in found[found["component"].isin(["w1", "w2"])].itertuples():
        sums = raw[f"next_batch/sum/{row.stack}.{row.layer}.{row.component}"]
        ratios.append(row.se / np.sqrt((sums.diff().dropna() ** 2).sum() / 2))
    assert 0.9 < np.median(ratios) < 1.25  # see `uncertainty`: rather too wide
    assert min(ratios) > 0.5 and max(ratios) < 2  # each is an estimate itself
    heads = totals(log, head_curves(log)).query("head > 0 and estimator == 'next_batch'")
    assert heads["se"].between(0, 2 * heads["lca"].abs(), inclusive="neither").all()


def test_head_curves_are_means_of_longer_windows(log, raw):
    found = head_curves(log).query("stack == 'decoder' and layer == 1 and component == 'cross_key'")
    found = found.query("estimator == 'next_batch' and head == 2")
    assert found["update"].tolist() == list(range(25, UPDATES + 1, 25))
    means = raw["next_batch/sum/decoder.1.cross_key/2"].to_numpy().reshape(-1, 25).mean(axis=1)
    np.testing.assert_allclose(found["sum"], means, rtol=1e-5)


def test_milestones_by_hand(tmp_path):
    sums = {
        "falls": [-4, -1, 3, -4, -4],  # -4 -5 -2 -6 -10
        "rises": [-1, 1, 1, 0, 0],
        "always": [-9, -1, 0, 0, 0],
    }
    found = milestones(write_log(tmp_path / "log.parquet", sums)).set_index("component")
    assert found["total"].tolist() == [-10, 1, -10]
    assert found["positive_updates"].tolist() == [1, 2, 0]
    assert found["last_positive"].tolist() == [3, 3, 0]
    assert found["largest"].tolist() == [3, 1, 0]
    assert found["t50"].tolist() == [2, pd.NA, 1]
    assert found["t90"].tolist() == [5, pd.NA, 1]


def test_milestones_agree_with_pandas(log, raw):
    found = milestones(log).set_index(["estimator", *LABELS]).sort_index()
    row = found.loc[("next_batch", "decoder", 2, "w2")]
    series = raw["next_batch/sum/decoder.2.w2"]
    reached = series.cumsum() <= 0.9 * series.sum()
    assert row["t90"] == reached.idxmax() > row["t50"]
    assert row["positive_updates"] == (series > 0).sum() > 100
    assert row["last_positive"] == series[series > 0].index[-1]
    assert row["largest"] == pytest.approx(series.max())


def test_losses_are_those_of_the_windows(log, raw):
    found = losses(log).set_index("update")
    expected = by_window(raw)["loss"].agg(["mean", "min", "max"])
    np.testing.assert_allclose(found[["loss", "low", "high"]], expected, rtol=1e-6)
    rate = by_window(raw)["learning_rate"].mean()
    np.testing.assert_allclose(found["learning_rate"], rate, rtol=1e-5)


def test_series_keep_names_and_values_together(log, raw):
    frame = logs.series(log, "next_batch", "positive")
    heads = logs.head_series(log, "own_batch")
    assert frame.index.tolist() == list(range(1, UPDATES + 1))
    for name in frame:
        assert (frame[name] == raw[f"next_batch/positive/{name}"]).all()
    for name, head in heads:
        assert (heads[name, head] == raw[f"own_batch/sum/{name}/{head}"]).all()


@pytest.mark.parametrize(
    ("updates", "message"),
    [([1, 2, 4], "update 4 in place of 3"), ([2, 3, 4], "2 in place of 1"), ([1, 2, 2], "of 3")],
)
def test_a_gap_is_named(tmp_path, updates, message):
    path = write_log(tmp_path / "log.parquet", {"w1": [0, 0, 0]}, updates)
    with pytest.raises(LogError, match=f"log.parquet: has .*{message}"):
        logs.count_updates(path)


def test_what_is_no_log_is_named(tmp_path):
    (tmp_path / "log.parquet").write_text("nothing")
    with pytest.raises(LogError, match="log.parquet: cannot be read as a log: "):
        logs.count_updates(tmp_path / "log.parquet")
