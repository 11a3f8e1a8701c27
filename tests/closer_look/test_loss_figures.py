"""Completeness, held-out text and losses."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

import synthetic
from closer_look.drawing.style import COLOURS, signed
from drawn import CLM, MLM, MT, SIZE, UPDATES, WMT, of_seeds, texts
from scripts.figures import completeness, held_out, losses


def summing_to(ends):
    """Return curves of two blocks over 4 windows of 250 updates, from the sum of each estimator."""
    rows = [
        (estimator, stack, update, end / 2 / 1000, "mlm")
        for estimator, end in ends.items()
        for stack in ("encoder", "decoder")
        for update in (250, 500, 750, 1000)
    ]
    columns = ["estimator", "stack", "update", "sum", "objective"]
    return pd.DataFrame(rows, columns=columns).assign(seed=1)


def test_a_rounded_zero_has_no_sign():
    assert [signed(value, "+.0f") for value in (-0.4, 0.4, -3, 3)] == ["0", "0", "−3", "+3"]


def test_completeness_draws_truth_and_sums_and_labels_the_gaps():
    table = synthetic.completeness(synthetic.facets(MLM), 1000)
    expected = table.query("reference == 'dropout' and estimator == 'own_batch'")["change"]
    end = expected.iloc[-1]
    sums = {"own_batch": 4.5 * end, "next_batch": 0.75 * end, "trapezoid": 0.97 * end}
    (panel,) = completeness.draw(table, summing_to(sums)).axes
    assert panel.get_title() == "Masked LM"
    np.testing.assert_allclose(panel.lines[1].get_ydata() / end, 0.75 * np.arange(5) / 4)
    assert panel.lines[1].get_xdata().tolist() == [0, 250, 500, 750, 1000]
    truth = panel.lines[-1]
    np.testing.assert_allclose(truth.get_ydata(), expected)
    assert truth.get_color() == "black" and truth.get_marker() == "o"
    shown = texts(panel)
    assert f"loss −{abs(end):.2f} ± {0.005 * abs(end):.2f}" in shown
    assert "next-batch 75.0 ± 1.5 %" in shown and "trapezoid 97.0 ± 2.0 %" in shown
    (outside,) = (text for text in shown if "own-batch" in text)
    assert outside == f"own-batch 450.0 ± 9.3 %\n(to −{abs(4.5 * end):.1f}) ↓"
    assert panel.get_ylim()[0] == pytest.approx(1.6 * end, rel=0.1)


def test_completeness_draws_the_intervals_of_sums_and_of_the_truth():
    table = synthetic.completeness(synthetic.facets(MLM), 1000)
    end = table.query("reference == 'dropout'")["change"].min()
    (panel,) = completeness.draw(table, summing_to({"next_batch": 0.75 * end})).axes
    of_sum, of_truth = panel.collections
    for band, value, share in ((of_sum, 0.75 * end, 0.02), (of_truth, end, 0.005)):
        heights = band.get_paths()[0].vertices
        at_end = heights[heights[:, 0] == 1000, 1]
        expected = value * (1 + 1.96 * share * np.array([1, -1]))
        np.testing.assert_allclose([at_end.min(), at_end.max()], expected)


def test_without_errors_completeness_has_neither_bands_nor_decimals():
    table = synthetic.completeness(synthetic.facets(MLM), 1000)
    table = table.assign(change_se=np.nan, lca_se=np.nan)
    (panel,) = completeness.draw(table, summing_to({"next_batch": -1})).axes
    assert not panel.collections
    assert {"next-batch 75 %"} < set(texts(panel))


def test_completeness_of_several_seeds_is_their_mean_in_a_band_of_the_range():
    table = of_seeds(synthetic.completeness(synthetic.facets(MLM), 1000), "change")
    table["lca"] *= table["seed"]
    curves = of_seeds(summing_to({"own_batch": -1}), "sum")
    (panel,) = completeness.draw(table, curves).axes
    assert panel.lines[0].get_ydata()[-1] == pytest.approx(-3)
    truth = table.query("reference == 'dropout'").groupby("update")["change"].mean()
    np.testing.assert_allclose(panel.lines[-1].get_ydata(), truth)
    assert len(panel.collections) == 2


def test_a_sum_far_above_leaves_the_panel_at_the_top():
    table = synthetic.completeness(synthetic.facets(MLM), 1000)
    (panel,) = completeness.draw(table, summing_to({"own_batch": -1, "next_batch": 30})).axes
    (outside,) = (text for text in panel.texts if "next-batch" in text.get_text())
    assert outside.get_text().endswith("\n(to 30.0) ↑")
    assert outside.xy == (0, panel.get_ylim()[1])
    assert 0 < panel.get_ylim()[1] < 10


def test_completeness_ends_where_the_loss_was_last_measured():
    table = synthetic.completeness(synthetic.facets(MLM), 600, points=4)
    (panel,) = completeness.draw(table, summing_to({"next_batch": -1})).axes
    assert panel.lines[0].get_xdata().tolist() == [0, 250, 500]
    assert panel.get_xlim() == (0, 600)


def test_labels_at_the_ends_keep_apart():
    table = synthetic.completeness(synthetic.facets(MLM), 1000)
    end = table.query("reference == 'dropout'")["change"].min()
    sums = dict.fromkeys(("own_batch", "next_batch", "trapezoid"), 1.001 * end)
    (panel,) = completeness.draw(table, summing_to(sums)).axes
    heights = sorted(text.xy[1] for text in panel.texts)
    assert len(heights) == 4
    assert np.diff(heights).min() > 0.05 * np.ptp(panel.get_ylim())


def test_without_a_probe_completeness_says_so():
    table = synthetic.completeness(synthetic.facets(MLM), 1000)[:0]
    (panel,) = completeness.draw(table, summing_to({"own_batch": -1})).axes
    assert texts(panel) == ["no update was probed"]


def test_without_held_out_text_its_bars_are_labelled_as_missing():
    probes = synthetic.probes(synthetic.facets(MT), UPDATES, **SIZE).query("set == 'train'")
    attention, _ = held_out.draw(probes).axes
    assert texts(attention.get_legend()) == ["training text", "no held-out text"]
    assert {bar.get_height() for bar in attention.containers[1]} == {0}


def test_held_out_draws_mean_contributions_of_both_sets():
    probes = synthetic.probes(synthetic.facets(MT), 1000, **SIZE)
    attention, forward = held_out.draw(probes).axes
    rows = probes[probes["component"].isin(["w1", "w2"]) & (probes["layer"] > 0)]
    sums = -rows.groupby(["set", "stack", "layer"])["lca"].sum() / rows["update"].nunique()
    expected = [*sums["train"]["encoder"], *sums["train"]["decoder"]]
    expected += [*sums["held_out"]["encoder"], *sums["held_out"]["decoder"]]
    np.testing.assert_allclose([bar.get_height() for bar in forward.patches], expected)
    assert len(attention.patches) == 8


def test_without_a_probe_the_figure_says_so():
    probes = synthetic.probes(synthetic.facets(MT), 1000, **SIZE)[:0]
    assert [texts(panel) for panel in held_out.draw(probes).axes] == [["no update was probed"]] * 2


def of_runs(*numbers, updates=1000):
    """Return the tables losses (of 100 windows) and completeness of synthetic runs."""
    facets = [synthetic.facets(number) for number in numbers]
    windows = np.arange(updates // 100, updates + 1, updates // 100)
    batches = [
        pd.DataFrame({"update": windows, "loss": 3 + 100 / windows}).assign(**run) for run in facets
    ]
    return pd.concat(batches), pd.concat(synthetic.completeness(run, updates) for run in facets)


def test_losses_are_of_batches_smoothed_and_of_both_probed_texts():
    batches, probed = of_runs(MLM, CLM, WMT)
    panels = losses.draw(batches, probed, smoothing=40).axes
    assert [panel.get_title() for panel in panels] == ["Masked LM", "Causal LM", "Translation"]
    smoothed, train, held_out, _ = panels[1].lines
    expected = pd.Series(3 + 100 / np.arange(10, 1001, 10)).rolling(4, min_periods=1).mean()
    np.testing.assert_allclose(smoothed.get_ydata(), expected)
    rows = probed.query("objective == 'clm' and estimator == 'trapezoid'")
    for line, reference in ((train, "train"), (held_out, "held_out")):
        of_reference = rows[rows["reference"] == reference]
        assert line.get_xdata().tolist() == of_reference["update"].to_list()
        np.testing.assert_allclose(line.get_ydata(), of_reference["loss"])
    assert smoothed.get_color() == to_rgb(COLOURS["clm"])


def test_losses_of_runs_have_shades_and_of_seeds_are_means():
    batches, probed = of_runs(MLM, MLM + len(synthetic.RUNS), 1)
    batches["loss"] += 2 * (batches["seed"] - 1)
    (panel,) = losses.draw(batches, probed, smoothing=1).axes
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["en", "de"]
    english, german = panel.lines[0], panel.lines[4]
    np.testing.assert_allclose(english.get_ydata(), german.get_ydata() + 1)
    assert english.get_color() != german.get_color()


def test_losses_without_a_probe_are_those_of_the_batches():
    batches, probed = of_runs(MLM)
    (panel,) = losses.draw(batches, probed[:0], scale="log").axes
    assert len(panel.lines) == 2  # one is for the legend
    assert panel.get_xscale() == "log"
