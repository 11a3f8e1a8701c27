"""Tables of how far LCA is from the truth, from a log whose every number is known."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from scipy.stats import t as student

import synthetic
import toys
from lca import LAGS
from lca.allocation import empty
from lca.analysis.completeness import completeness, probes, summary
from lca.blocks import partition
from lca.recorder import EXTRA_UPDATES, Recorder, consolidate

PART = partition(toys.model("clm"))
CELLS = len(PART.owners)
UPDATES, EVERY = 6, 3
PROBED = [1, 3, 6]
VALUES = {"own_batch": -4.0, "next_batch": -1.0, "trapezoid": -1.5}
"""The whole sum of every update."""
SHARES = np.linspace(0.9, 1.1, 8)
"""Of the trapezoid's groups of text."""


def spread(total):
    """An allocation of which each cell has as much."""
    found = empty(PART)
    found[:, 0] = total / CELLS
    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The loss with dropout falls by 1 at each update; on the fixed batches by half as much."""
    return write_log(tmp_path_factory.mktemp("log"), last_stride=UPDATES)


def write_log(folder, last_stride):
    about = {"trapezoid_tokens": [5] * 8}
    recorder = Recorder(folder / "parts", PART, about, [*LAGS, "trapezoid", "probe_train"])
    for update in range(1, UPDATES + EXTRA_UPDATES + 1):
        facts, found = {"update": update}, {lag: spread(VALUES[lag]) for lag in LAGS}
        if update % 2 == 0 and update <= last_stride:
            facts |= {"trapezoid/updates": 2, "trapezoid/changes": 2 * VALUES["trapezoid"] * SHARES}
            whole = [spread(2 * VALUES["trapezoid"] * share) for share in SHARES]
            found["trapezoid"] = torch.stack(whole)
        if update in PROBED:
            facts |= {"dropout/after": 10.0 - update}
            facts |= {
                "probe_train/before": 9 - (update - 1) / 2,
                "probe_train/after": 9 - update / 2,
            }
            found["probe_train"] = spread(-0.5)
        if update == 1:
            facts["dropout/before"] = 10.0
        recorder.record(facts, found)
    recorder.close_part()
    consolidate(folder / "parts", folder / "log.parquet", UPDATES)
    return folder / "log.parquet"


def rows(log, reference, estimator):
    table = completeness(log)
    return table[(table["reference"] == reference) & (table["estimator"] == estimator)]


@pytest.mark.parametrize(("estimator", "value"), [("own_batch", -4.0), ("trapezoid", -1.5)])
def test_sums_stand_beside_the_change_since_the_beginning(log, estimator, value):
    found = rows(log, "dropout", estimator)
    assert found["update"].tolist() == [0, *PROBED]
    assert found["loss"].tolist() == [10.0, 9.0, 7.0, 4.0]
    assert found["change"].tolist() == [0.0, -1.0, -3.0, -6.0]
    np.testing.assert_allclose(found["lca"], [value * update for update in (0, *PROBED)], rtol=1e-3)


def test_the_trapezoid_is_not_carried_on_beyond_its_last_stride(tmp_path):
    found = write_log(tmp_path, last_stride=4)
    assert rows(found, "dropout", "trapezoid")["update"].tolist() == [0, 1, 3]
    assert rows(found, "dropout", "own_batch")["update"].tolist() == [0, *PROBED]
    ends = summary(completeness(found)).set_index(["reference", "estimator"]).loc["dropout"]
    assert ends.loc["trapezoid", "change"] == -3
    assert ends.loc["trapezoid", "gap"] == pytest.approx(0.5, rel=1e-4)
    assert ends.loc["own_batch", "change"] == -6


def test_the_probe_is_summed_over_probed_updates_alone(log):
    found = rows(log, "train", "probe")
    assert found["change"].tolist() == [0.0, -0.5, -1.0, -1.5]
    np.testing.assert_allclose(found["lca"], [0.0, -0.5, -1.0, -1.5], rtol=1e-3)


def test_what_was_not_measured_is_left_out(log):
    assert set(completeness(log)["reference"]) == {"dropout", "train"}
    assert set(probes(log)["set"]) == {"train"}


def test_the_summary_is_of_the_end_and_of_the_worst_moment(log):
    found = summary(completeness(log)).set_index(["reference", "estimator"])
    row = found.loc[("dropout", "own_batch")]
    assert row["gap"] == pytest.approx(3.0, rel=1e-3)
    assert row["worst"] == pytest.approx(3.0, rel=1e-3)
    assert found.loc[("train", "probe"), "gap"] == pytest.approx(0.0, abs=1e-3)


@pytest.fixture(scope="module")
def long_log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    synthetic.write_log(path, "clm", 300, probe_every=50, layers=2, heads=2, width=8, vocabulary=20)
    return path


def test_the_error_of_the_change_is_the_paired_scatter_over_batches(long_log):
    found = rows(long_log, "dropout", "own_batch").set_index("update")
    raw = pd.read_parquet(long_log).set_index("update")
    before = np.stack(raw.loc[[1], "dropout/before_by_batch"])[0]
    tokens = np.array(synthetic.BATCH_TOKENS)
    for update in (50, 300):
        changes = np.array(raw.loc[update, "dropout/after_by_batch"]) - before
        mean = (changes * tokens).sum() / tokens.sum()
        assert mean == pytest.approx(found.loc[update, "change"], rel=1e-3)
        ratio = np.sqrt((tokens**2 * (changes - mean) ** 2).sum() * 32 / 31) / tokens.sum()
        assert found.loc[update, "change_se"] == pytest.approx(ratio, rel=0.06)
    assert found.loc[0, "change_se"] == found.loc[0, "lca_se"] == 0


def test_the_error_of_the_trapezoid_is_how_its_groups_differ(log):
    found = rows(log, "dropout", "trapezoid").set_index("update")["lca_se"]
    widened = student.ppf(0.975, 7) / norm.ppf(0.975)
    one = 1.5 * SHARES.std(ddof=1) / np.sqrt(8) * widened  # of an update
    assert found[6] == pytest.approx(6 * one, rel=1e-3)
    assert 2 * one < found[3] < 4 * one  # within a stride


def test_the_error_of_the_sum_grows_along_the_run_and_goes_into_the_gap(long_log):
    found = rows(long_log, "dropout", "next_batch")
    errors = found["lca_se"].dropna()  # of the first updates it is unknown
    assert errors.is_monotonic_increasing and found["lca_se"].iloc[-1] > 0
    end = summary(completeness(long_log)).set_index(["reference", "estimator"])
    row = end.loc[("dropout", "next_batch")]
    assert row["lca_se"] == found["lca_se"].iloc[-1]
    share = 1 + row["gap"]
    expected = abs(share) * np.hypot(row["lca_se"] / row["lca"], row["change_se"] / row["change"])
    assert row["gap_se"] == pytest.approx(expected)


def test_what_is_not_known_batch_by_batch_has_no_error(long_log):
    end = summary(completeness(long_log)).set_index(["reference", "estimator"])
    assert np.isnan(end.loc[("train", "next_batch"), "change_se"])
    assert np.isnan(end.loc[("train", "next_batch"), "gap_se"])
    assert end.loc[("train", "next_batch"), "lca_se"] > 0
    assert np.isnan(end.loc[("train", "probe"), "lca_se"])


def test_probes_are_listed_block_by_block(log):
    found = probes(log)
    assert sorted(set(found["update"])) == PROBED
    assert len(found) == len(PROBED) * len(PART.blocks)
    sums = found.groupby("update")["lca"].sum()
    np.testing.assert_allclose(sums, torch.full((3,), -0.5), rtol=1e-3)


def test_a_run_without_probes_has_empty_tables(tmp_path):
    recorder = Recorder(tmp_path / "parts", PART, {})
    for update in range(1, 4):
        recorder.record({"update": update}, {lag: spread(-1.0) for lag in LAGS})
    recorder.close_part()
    consolidate(tmp_path / "parts", tmp_path / "log.parquet", 2)
    assert completeness(tmp_path / "log.parquet").empty
    assert probes(tmp_path / "log.parquet").empty
    assert summary(completeness(tmp_path / "log.parquet")).empty
