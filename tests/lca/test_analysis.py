import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm
from scipy.stats import t as student

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
    frame = pd.read_parquet(log).set_index("update")
    lists = [name for name in frame if frame[name].dtype == object]
    return frame.astype(dict.fromkeys(frame.columns.difference(lists), float))


def write_log(path, sums, updates=None, trapezoid=None, strides=None, changes=None, **groups):
    """Write a log of the own-batch sums of blocks, called by their component, and other groups; of
    the trapezoid with two groups of text, of which the second has thrice the tokens."""
    names = list(sums)
    blocks = [
        {"name": name, "stack": "model", "layer": 0, "component": name, "heads": 1, "elements": 8}
        for name in names
    ]
    length = len(sums[names[0]])
    arrays = {"update": pa.array(updates or range(1, length + 1), pa.int32())}
    if trapezoid:
        lists = {f"sum/{name}": values for name, values in trapezoid.items()} | {"changes": changes}
        arrays["trapezoid/updates"] = pa.array(strides, pa.int32())
        for name, values in lists.items():
            arrays[f"trapezoid/{name}"] = pa.array(values, pa.list_(pa.float32()))
    for group, of_blocks in {"own_batch": sums, **groups}.items():
        for name, values in of_blocks.items():
            arrays[f"{group}/sum/{name}"] = pa.array(values, pa.float32())
    metadata = {"blocks": blocks, "about": {"trapezoid_tokens": [1, 3]}}
    metadata = {name: json.dumps(value) for name, value in metadata.items()}
    table = pa.table(arrays).replace_schema_metadata(metadata)
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


def test_totals_are_the_sums_of_the_columns(log, raw):
    found = totals(log, head_curves(log))
    assert list(found) == ["estimator", *LABELS, "head", "elements", "lca", "se"]
    expected = raw.filter(regex="^(own_batch|next_batch)/sum").sum().to_dict()
    tokens = np.array(synthetic.GROUP_TOKENS)
    errors = {}
    for name in [name for name in raw if name.startswith("trapezoid/sum")]:
        by_group = np.sum(raw[name].dropna().tolist(), axis=0)
        expected[name] = (by_group * tokens).sum() / tokens.sum()
        apart = tokens * (by_group - expected[name])
        error = np.sqrt(8 / 7 * (apart**2).sum()) / tokens.sum()
        errors[name] = error * student.ppf(0.975, 7) / norm.ppf(0.975)
    assert len(found) == len(expected)
    for row in found.itertuples():
        name = f"{row.estimator}/sum/{row.stack}.{row.layer}.{row.component}"
        name = f"{name}/{row.head}" if row.head else name
        assert row.lca == pytest.approx(expected[name], rel=1e-5, abs=1e-6)
        if row.estimator == "trapezoid":
            assert row.se == pytest.approx(errors[name], rel=1e-4)


def test_the_error_of_a_block_is_what_its_groups_stand_apart(log):
    """Summed up from the curves as from the log, of blocks and of heads."""
    of_heads = head_curves(log)
    expected = totals(log, of_heads).query("estimator == 'trapezoid'")
    found = pd.concat([curves(log).assign(head=0), of_heads]).query("estimator == 'trapezoid'")
    keys = [*LABELS, "head"]
    sizes = found.groupby(keys)["update"].transform(lambda ends: np.diff(ends, prepend=0))
    columns = [f"apart_{number}" for number in range(1, 9)]
    sums = found[columns].mul(sizes, axis="index").groupby([found[key] for key in keys]).sum()
    widened = student.ppf(0.975, 7) / norm.ppf(0.975)
    found = np.sqrt((sums**2).sum(axis="columns")) * widened
    expected = expected.set_index(keys)["se"]
    pd.testing.assert_series_equal(
        found.sort_index(), expected.sort_index(), rtol=1e-2, check_names=False
    )


def test_what_a_stride_did_is_spread_over_its_updates(tmp_path):
    """Also over those after the last stride that ends in the log."""
    path = tmp_path / "log.parquet"
    w1 = [[2, 4], None, None, [-3, 3], [0, -4], None]
    strides = [1, None, None, 3, 1, None]
    changes = [[2, 4], None, None, [-3, 2], [0, -4], None]
    write_log(path, {"w1": [0] * 6}, trapezoid={"w1": w1}, strides=strides, changes=changes)
    found = curves(path).set_index("estimator")
    # The second group has thrice the tokens of the first.
    assert found.loc["trapezoid", "sum"].tolist() == [3.5, 0.5, 0.5, 0.5, -3, -3]
    assert found.loc["trapezoid", ["positive", "helping", "hurting"]].isna().all(axis=None)
    found = logs.strides(path)
    assert found["updates"].to_dict() == {1: 1, 4: 3, 5: 1}
    assert found["residual"].to_dict() == {1: 0, 4: 0.75, 5: 0}
    write_log(path, {"w1": [0] * 6})
    assert logs.estimators(path) == ["own_batch"]


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
    assert found["update"].tolist() == list(range(50, UPDATES + 1, 50))
    means = raw["next_batch/sum/decoder.1.cross_key/2"].to_numpy().reshape(-1, 50).mean(axis=1)
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
