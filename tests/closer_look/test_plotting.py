import re
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from scipy.stats import pearsonr

import synthetic
from closer_look.analysis.agreement import CELL, summary
from closer_look.analysis.agreement import agreement as read_agreement
from closer_look.analysis.similarity import p_value, profiles, separation, similarities
from closer_look.drawing import layers
from closer_look.drawing.style import COLOURS, save, signed
from closer_look.vocabulary import COMPONENT_NAMES
from lca.analysis.curves import curves as read_curves
from lca.analysis.curves import head_curves
from lca.analysis.totals import totals as read_totals
from scripts.figures import (
    agreement,
    completeness,
    figure1,
    figure2,
    figure3,
    figure4,
    figure5,
    figure6,
    held_out,
    helping,
    losses,
    similarity,
)

SIZE = dict(layers=4, heads=2, width=16, vocabulary=50)
UPDATES = 1500  # 750 windows of 2
MLM, CLM, MT, WMT = 0, 4, 8, 14  # of `synthetic.RUNS`


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def logged(folder, number, updates=UPDATES, **size):
    """Return totals and curves of a synthetic run."""
    facets = synthetic.facets(number)
    path = folder / f"{number}.parquet"
    synthetic.write_log(path, facets["objective"], updates, number, **SIZE | size)
    totals = read_totals(path, head_curves(path)).assign(**facets)
    return totals, read_curves(path).assign(**facets)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Totals and curves of seven runs, the first three being those of `MLM`, `CLM` and `MT`."""
    folder = tmp_path_factory.mktemp("logs")
    runs = [logged(folder, number) for number in (MLM, CLM, MT, WMT, 1, 5, 9)]
    return [pd.concat(frames, ignore_index=True) for frames in zip(*runs, strict=True)]


def main_runs(frame):
    keys = [tuple(synthetic.facets(number).values()) for number in (MLM, CLM, MT)]
    rows = frame[["corpus", "objective", "languages", "variant", "seed"]].apply(tuple, axis=1)
    return frame[rows.isin(keys)]


@pytest.fixture(scope="module")
def totals(tables):
    return main_runs(tables[0])


@pytest.fixture(scope="module")
def curves(tables):
    return main_runs(tables[1])


def titled(figure, title):
    """Return the panels with a title, from top to bottom."""
    return [panel for panel in figure.axes if panel.get_title() == title]


def texts(panel):
    return [text.get_text() for text in panel.texts]


def contributions(totals, objective, component, estimator="own_batch", head=0):
    """Return -LCA over the layers, the encoder's first."""
    rows = totals.query(
        f"objective == '{objective}' and component == '{component}'"
        f" and estimator == '{estimator}' and head == {head}"
    )
    rows = rows.sort_values(["stack", "layer"], ascending=[False, True])
    return (-rows["lca"]).to_numpy()


# Figure 1


@pytest.mark.parametrize("estimator", ["own_batch", "next_batch"])
def test_the_bars_of_figure_1_are_the_totals(totals, estimator):
    figure = figure1.draw(totals, estimator)
    rows = np.reshape(figure.axes, (3, len(COMPONENT_NAMES)))
    for row, objective in zip(rows, ("mlm", "clm", "mt"), strict=True):
        for panel, component in zip(row, COMPONENT_NAMES, strict=True):
            heights = [bar.get_height() for bar in panel.patches]
            np.testing.assert_allclose(
                heights, contributions(totals, objective, component, estimator)
            )
    assert estimator.replace("_", "-") in figure.get_suptitle()


def test_key_and_query_share_a_scale(totals):
    figure = figure1.draw(totals)
    first_row = {panel.get_title(): panel.get_ylim() for panel in figure.axes[:6]}
    assert first_row["Key"] == first_row["Query"] != first_row["Value"]


def test_the_encoder_is_lighter_than_the_decoder(totals):
    panel = figure1.draw(totals).axes[-1]
    colours = [bar.get_facecolor()[:3] for bar in panel.patches]
    assert colours[2:] == [to_rgb(COLOURS["mt"])] * 2
    assert colours[0] == colours[1] and sum(colours[0]) > sum(colours[2])
    assert texts(panel) == ["encoder", "decoder"]


def test_of_several_seeds_a_bar_is_the_mean_and_a_line_the_range(totals):
    seeds = [totals.assign(seed=seed, lca=totals["lca"] * seed) for seed in (1, 2, 6)]
    panel = figure1.draw(pd.concat(seeds)).axes[0]
    one = contributions(totals, "mlm", "key")
    np.testing.assert_allclose([bar.get_height() for bar in panel.patches], 3 * one)
    (lines,) = panel.collections
    ranges = [segment[:, 1] for segment in lines.get_segments()]
    np.testing.assert_allclose(ranges, np.stack([one, 6 * one], axis=1))


def test_of_one_seed_a_line_is_the_interval(totals):
    (lines,) = figure1.draw(totals).axes[0].collections
    rows = totals.query(
        "objective == 'mlm' and component == 'key' and estimator == 'own_batch' and head == 0"
    ).sort_values("layer")
    expected = np.stack([-rows["lca"] - 1.96 * rows["se"], -rows["lca"] + 1.96 * rows["se"]])
    ranges = [segment[:, 1] for segment in lines.get_segments()]
    np.testing.assert_allclose(ranges, expected.T)
    assert not figure1.draw(totals.assign(se=np.nan)).axes[0].collections


def test_an_objective_without_data_is_left_out_and_an_empty_panel_says_so(totals):
    rows = totals[(totals["objective"] != "clm")]
    rows = rows[(rows["objective"] != "mlm") | (rows["component"] != "out")]
    figure = figure1.draw(rows)
    assert len(figure.axes) == 2 * len(COMPONENT_NAMES)
    (empty,) = (panel for panel in figure.axes if not panel.patches)
    assert texts(empty) == ["no data"]


# Figures 5 and 6


def test_figure_6_has_a_row_for_each_run(tables):
    figure = figure6.draw(tables[0])
    assert len(figure.axes) == 7 * len(COMPONENT_NAMES)
    names = [panel.get_ylabel() for panel in figure.axes if panel.get_ylabel()]
    assert [name.split("\n")[0] for name in names] == [
        *["Masked LM"] * 2,
        *["Causal LM"] * 2,
        *["Translation"] * 3,
    ]
    assert {"Translation\nen→de, wmt18", "Translation\nen→de, europarl"} < set(names)
    of_wmt = tables[0][tables[0]["corpus"] == "wmt18"]
    row = figure.axes[6 * names.index("Translation\nen→de, wmt18") :]
    heights = [bar.get_height() for bar in row[4].patches]
    np.testing.assert_allclose(heights, contributions(of_wmt, "mt", "w1"))


def test_figure_5_has_a_line_for_each_run_broken_between_the_stacks(tables):
    figure = figure5.draw(tables[0], dashed=["europarl/mlm/de"])
    (panel,) = titled(figure, "Value")
    assert len(panel.lines) == 2 + 2 + 2 * 3
    stacks = [line for line in panel.lines if len(line.get_xdata()) == 2]
    of_wmt = tables[0][tables[0]["corpus"] == "wmt18"]
    expected = contributions(of_wmt, "mt", "value")
    drawn = [[*stacks[i].get_ydata(), *stacks[i + 1].get_ydata()] for i in (0, 2, 4)]
    assert sum(np.allclose(line, expected) for line in drawn) == 1
    assert [stacks[0].get_xdata().tolist(), stacks[1].get_xdata().tolist()] == [[1, 2], [3, 4]]
    (german,) = (line for line in panel.lines if line.get_linestyle() == "--")
    german_rows = tables[0].query("languages == 'de'")
    np.testing.assert_allclose(german.get_ydata(), contributions(german_rows, "mlm", "value"))
    assert len({line.get_color() for line in panel.lines}) == 7
    assert not panel.collections  # of so many runs, intervals could not be told apart


# Figure 2 and the share that helps


def test_the_lines_of_figure_2_are_moving_averages_of_sums(curves):
    figure = figure2.draw(curves, smoothing=20)
    embeddings, attention, forward = figure.axes[:9:3]
    rows = curves.query("objective == 'mlm' and estimator == 'own_batch'")
    for panel, components in (
        (embeddings, ["embeddings"]),
        (attention, ["key", "query", "value"]),
        (forward, ["w1", "w2"]),
    ):
        of_group = rows[rows["component"].isin(components)]
        for layer, line in zip(sorted(of_group["layer"].unique()), panel.lines, strict=True):
            sums = -of_group[of_group["layer"] == layer].groupby("update")["sum"].sum()
            averages = sums.rolling(10, min_periods=1).mean()  # 10 windows of 2 updates
            np.testing.assert_allclose(line.get_ydata(), averages, rtol=1e-4)
            assert line.get_xdata().tolist() == list(range(2, UPDATES + 1, 2))


def band(panel):
    """Return the heights at which the panel's first band begins and ends, at its left edge."""
    heights = panel.collections[0].get_paths()[0].vertices
    at_left = heights[heights[:, 0] == heights[:, 0].min(), 1]
    return at_left.min(), at_left.max()


def of_seeds(frame, column):
    """Return a frame as of three seeds, the values of which are 1, 2 and 6 times as large."""
    return pd.concat([frame.assign(seed=n, **{column: frame[column] * n}) for n in (1, 2, 6)])


def test_of_several_seeds_lines_are_means_in_a_band_of_the_range(curves, tables):
    alone = figure2.draw(curves, smoothing=20).axes[0]
    several = figure2.draw(of_seeds(curves, "sum"), smoothing=20).axes[0]
    first = alone.lines[0].get_ydata()
    np.testing.assert_allclose(several.lines[0].get_ydata(), 3 * first, rtol=1e-4)
    np.testing.assert_allclose(band(several), (first[0], 6 * first[0]), rtol=1e-4)
    assert not alone.collections and len(several.lines) == len(alone.lines)

    (alone,) = titled(figure5.draw(main_runs(tables[0])), "Value")
    (several,) = titled(figure5.draw(of_seeds(main_runs(tables[0]), "lca")), "Value")
    first = alone.lines[0].get_ydata()
    np.testing.assert_allclose(several.lines[0].get_ydata(), 3 * first)
    np.testing.assert_allclose(band(several), (first[0], 6 * first[0]))
    se = tables[0].query("objective == 'mlm' and component == 'value' and layer == 1 and head == 0")
    half = 1.96 * se.query("estimator == 'own_batch'")["se"].iloc[0]
    np.testing.assert_allclose(band(alone), (first[0] - half, first[0] + half))


def test_the_updates_may_have_a_logarithmic_axis(curves):
    scales = {panel.get_xscale() for panel in figure2.draw(curves, scale="log").axes[:9]}
    assert scales == {"log"}


def test_the_share_that_helps_is_in_percent(curves):
    figure = helping.draw(curves, "next_batch", smoothing=1)
    rows = curves.query("objective == 'clm' and estimator == 'next_batch' and layer == 2")
    rows = rows[rows["component"].isin(["w1", "w2"])]
    line = figure.axes[7].lines[1]
    np.testing.assert_allclose(
        line.get_ydata(), 100 * rows.groupby("update")["helping"].mean(), rtol=1e-5
    )


def test_what_an_estimator_does_not_record_is_said(curves):
    panels = helping.draw(curves, "trapezoid").axes[:9]
    assert {text for panel in panels for text in texts(panel)} == {
        "not recorded for this estimator"
    }


# Figures 3 and 4


def test_a_heat_map_is_normalised_over_all_its_heads(totals):
    figure = figure3.draw(totals)
    (panel, *_) = titled(figure, "Key")
    (image,) = panel.images
    expected = [contributions(totals, "mlm", "key", head=head) for head in (1, 2)]
    np.testing.assert_allclose(image.get_array(), np.transpose(expected))
    assert (image.norm.vmin, image.norm.vmax) == (np.min(expected), np.max(expected))


def test_a_model_without_heads_says_so(totals):
    figure = figure3.draw(totals[totals["head"] == 0])
    assert [texts(panel) for panel in figure.axes[:12]] == [["no heads"]] * 12


def test_figure_4_shows_every_positive_value_and_clips_the_highest(curves):
    masked = curves[curves["objective"] == "mlm"]
    (panel,) = titled(figure4.draw(masked, "next_batch"), "Value")
    inside, beyond = (points.get_offsets() for points in panel.collections)
    rows = masked.query("estimator == 'next_batch' and component == 'value' and high > 0")
    limit = panel.get_ylim()[1]
    assert len(inside) == (rows["high"] <= limit).sum() > 1000
    assert len(beyond) == (rows["high"] > limit).sum() > 0
    assert set(beyond[:, 1]) == {limit}
    expected = rows[rows["high"] <= limit].sort_values(["update", "high"])
    found = sorted(map(tuple, inside.data))
    np.testing.assert_allclose(found, expected[["update", "high"]])


def test_figure_4_tells_never_positive_from_missing(curves):
    masked = curves[(curves["objective"] == "mlm") & (curves["component"] != "out")]
    masked = masked.assign(high=masked["high"].where(masked["component"] != "key", -1.0))
    figure = figure4.draw(masked)
    assert texts(titled(figure, "Key")[0]) == ["never positive"]
    assert texts(titled(figure, "Out")[0]) == ["no data"]


# Completeness, held-out text, similarity


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


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The table `agreement` of a masked and a translation model."""
    folder = tmp_path_factory.mktemp("compared")
    frames = []
    for facets in (synthetic.facets(MLM), synthetic.facets(MT)):
        path = folder / f"{facets['objective']}.parquet"
        synthetic.write_log(path, facets["objective"], 60, probe_every=1, **SIZE)
        frames.append(read_agreement(path).assign(**facets))
    return pd.concat(frames)


def points(panel):
    """Return the points of a panel, as rows of x and y, sorted."""
    found = np.concatenate([group.get_offsets() for group in panel.collections[:4]])
    return found[np.argsort(found[:, 0])]


def test_agreement_draws_estimate_against_truth_of_every_block_and_head(compared):
    rows = np.reshape(agreement.draw(compared).axes, (2, 4))
    estimators = ["own_batch", "next_batch", "trapezoid", "held_out"]
    for row, objective in zip(rows, ("mlm", "mt"), strict=True):
        for panel, estimator in zip(row, estimators, strict=True):
            chosen = (compared["objective"] == objective) & (compared["estimator"] == estimator)
            sums = -compared[chosen].groupby(CELL)[["truth", "lca"]].sum()
            np.testing.assert_allclose(points(panel), sums.sort_values("truth"), rtol=1e-6)
            assert panel.get_xlim() == panel.get_ylim()
    assert [panel.get_title() for panel in rows[0, :2]] == ["own-batch", "next-batch"]


def test_agreement_says_in_numbers_how_well_an_estimator_does(compared):
    panel = agreement.draw(compared).axes[0]
    chosen = (compared["objective"] == "mlm") & (compared["estimator"] == "own_batch")
    block, head = summary(compared[chosen]).to_dict("records")
    (text,) = texts(panel)
    for name, value in (("sum", block["ratio"]), ("heads misplaced", head["distance"])):
        assert re.search(rf"{name} +{100 * value:.1f} %|{name} +{100 * value:.0f} %", text), text


def test_without_a_run_probed_at_every_update_agreement_says_so(compared):
    (panel,) = agreement.draw(compared[:0]).axes
    assert texts(panel) == ["no run was probed at every update"]


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


def test_the_similarity_of_runs_is_the_mean_correlation_over_components(tables):
    found = profiles(tables[0].query("estimator == 'own_batch'"))
    r = similarities(found.to_numpy().reshape(7, 6, 4))
    runs = [
        tables[0].query(f"corpus == '{corpus}' and languages == '{languages}'")
        for corpus, languages in (("europarl", "en-de"), ("wmt18", "en-de"))
    ]
    expected = np.mean(
        [
            pearsonr(*(contributions(run, "mt", component) for run in runs)).statistic
            for component in COMPONENT_NAMES
        ]
    )
    names = found.index.droplevel("variant")
    places = [names.get_loc((corpus, "mt", "en-de")) for corpus in ("europarl", "wmt18")]
    assert r[tuple(places)] == pytest.approx(expected)
    np.testing.assert_allclose(np.diag(r), 1)


def test_only_runs_of_the_commonest_depth_are_compared(tables, tmp_path):
    deeper, _ = logged(tmp_path, 2, updates=10, layers=6)
    found = profiles(pd.concat([tables[0], deeper]).query("estimator == 'own_batch'"))
    assert len(found) == 7 and found.notna().all(axis=None)


def test_runs_that_differ_by_objective_alone_are_told_apart():
    labels = np.array(["a", "a", "a", "b", "b", "b"])
    distance = 1.0 - (labels[:, None] == labels)
    assert separation(distance, labels) == 1
    assert p_value(distance, labels) == pytest.approx(0.1)  # 2 of 20 ways to deal them
    crossed = np.array(["x", "y", "z", "x", "y", "z"])
    assert separation(distance, crossed) == 0.5 - 1
    assert p_value(distance, crossed) == 1
    assert np.isnan(p_value(distance, np.arange(6)))


def test_similar_runs_are_neighbours_in_the_map(tables):
    figure = similarity.draw(tables[0])
    (panel,) = (panel for panel in figure.axes if panel.images)
    objectives = [label.get_text().split()[0] for label in panel.get_yticklabels()]
    assert len([1 for a, b in zip(objectives, objectives[1:], strict=False) if a != b]) == 2
    r = panel.images[0].get_array()
    np.testing.assert_allclose(r, r.T)
    assert "the objective differs: by" in figure.get_suptitle()


# All


@pytest.mark.parametrize(
    ("encoder", "decoder", "shown"),
    [
        (2, 0, [1, 2]),
        (6, 6, [1, 2, 3, 4, 5, 6] * 2),
        (12, 0, [1, 2, 4, 6, 8, 10, 12]),
        (24, 0, [1, 4, 8, 12, 16, 20, 24]),
        (12, 12, [3, 6, 9, 12] * 2),
    ],
)
def test_as_many_layers_are_numbered_as_there_is_room_for(encoder, decoder, shown):
    rows = [("decoder", layer + 1) for layer in range(decoder)]
    rows += [("encoder", layer + 1) for layer in range(encoder)]
    axis = plt.subplots()[1].xaxis
    layers.label(axis, layers.places(pd.DataFrame(rows, columns=["stack", "layer"])))
    labels = [label.get_text() for label in axis.get_ticklabels()]
    assert len(labels) == encoder + decoder
    assert [int(label) for label in labels if label] == shown


BY_TOTALS = {module.__name__: module.draw for module in (figure1, figure3, figure5, figure6)}
BY_TOTALS["similarity"] = similarity.draw
BY_CURVES = {
    module.__name__: partial(module.draw, smoothing=4) for module in (figure2, helping)
} | {"figure4": figure4.draw}


@pytest.mark.parametrize(("number", "size"), [(MLM, 24), (MT, 2)], ids=["24 layers", "1 + 1"])
def test_every_figure_can_be_drawn_of_one_run(tmp_path, number, size):
    totals, curves = logged(tmp_path, number, updates=5, layers=size)
    facets = synthetic.facets(number)
    figures = [draw(totals) for draw in BY_TOTALS.values()]
    figures += [draw(curves) for draw in BY_CURVES.values()]
    figures.append(completeness.draw(synthetic.completeness(facets, 5, 2), curves))
    figures.append(held_out.draw(synthetic.probes(facets, 5, number=2, **SIZE | {"layers": size})))
    synthetic.write_log(tmp_path / "probed", facets["objective"], 5, probe_every=1, layers=size)
    figures.append(agreement.draw(read_agreement(tmp_path / "probed").assign(**facets)))
    for figure in figures:
        save(figure, tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 5000


def test_a_figure_is_written_in_both_formats_without_a_date(totals, tmp_path):
    for name in ("one", "two"):
        save(figure1.draw(totals), tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()
