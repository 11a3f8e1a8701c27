"""The figures of the paper, and what holds for every figure."""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

import synthetic
from closer_look.analysis.agreement import agreement as read_agreement
from closer_look.drawing import layers
from closer_look.drawing.style import COLOURS, save
from closer_look.vocabulary import COMPONENT_NAMES
from drawn import (
    MLM,
    MT,
    SIZE,
    UPDATES,
    contributions,
    logged,
    main_runs,
    of,
    of_seeds,
    texts,
    titled,
)
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
    similarity,
)

# Figure 1


@pytest.mark.parametrize("estimator", ["own_batch", "next_batch"])
def test_the_bars_of_figure_1_are_the_totals(totals, estimator):
    figure = figure1.draw(of(totals, estimator), estimator)
    rows = np.reshape(figure.axes, (3, len(COMPONENT_NAMES)))
    for row, objective in zip(rows, ("mlm", "clm", "mt"), strict=True):
        for panel, component in zip(row, COMPONENT_NAMES, strict=True):
            heights = [bar.get_height() for bar in panel.patches]
            np.testing.assert_allclose(
                heights, contributions(totals, objective, component, estimator)
            )
    assert estimator.replace("_", "-") in figure.get_suptitle()


def test_key_and_query_share_a_scale(totals):
    figure = figure1.draw(of(totals))
    first_row = {panel.get_title(): panel.get_ylim() for panel in figure.axes[:6]}
    assert first_row["Key"] == first_row["Query"] != first_row["Value"]


def test_the_encoder_is_lighter_than_the_decoder(totals):
    panel = figure1.draw(of(totals)).axes[-1]
    colours = [bar.get_facecolor()[:3] for bar in panel.patches]
    assert colours[2:] == [to_rgb(COLOURS["mt"])] * 2
    assert colours[0] == colours[1] and sum(colours[0]) > sum(colours[2])
    assert texts(panel) == ["encoder", "decoder"]


def test_of_several_seeds_a_bar_is_the_mean_and_a_line_the_range(totals):
    seeds = [totals.assign(seed=seed, lca=totals["lca"] * seed) for seed in (1, 2, 6)]
    panel = figure1.draw(of(pd.concat(seeds))).axes[0]
    one = contributions(totals, "mlm", "key")
    np.testing.assert_allclose([bar.get_height() for bar in panel.patches], 3 * one)
    (lines,) = panel.collections
    ranges = [segment[:, 1] for segment in lines.get_segments()]
    np.testing.assert_allclose(ranges, np.stack([one, 6 * one], axis=1))


def test_of_one_seed_a_line_is_the_interval(totals):
    (lines,) = figure1.draw(of(totals)).axes[0].collections
    rows = totals.query(
        "objective == 'mlm' and component == 'key' and estimator == 'own_batch' and head == 0"
    ).sort_values("layer")
    expected = np.stack([-rows["lca"] - 1.96 * rows["se"], -rows["lca"] + 1.96 * rows["se"]])
    ranges = [segment[:, 1] for segment in lines.get_segments()]
    np.testing.assert_allclose(ranges, expected.T)
    assert not figure1.draw(of(totals).assign(se=np.nan)).axes[0].collections


def test_an_objective_without_data_is_left_out_and_an_empty_panel_says_so(totals):
    rows = totals[(totals["objective"] != "clm")]
    rows = rows[(rows["objective"] != "mlm") | (rows["component"] != "out")]
    figure = figure1.draw(of(rows))
    assert len(figure.axes) == 2 * len(COMPONENT_NAMES)
    (empty,) = (panel for panel in figure.axes if not panel.patches)
    assert texts(empty) == ["no data"]


# Figures 5 and 6


def test_figure_6_has_a_row_for_each_run(tables):
    figure = figure6.draw(of(tables[0]))
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
    figure = figure5.draw(of(tables[0]), dashed=["europarl/mlm/de"])
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
    figure = figure2.draw(of(curves), smoothing=20)
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


def test_of_several_seeds_lines_are_means_in_a_band_of_the_range(curves, tables):
    alone = figure2.draw(of(curves), smoothing=20).axes[0]
    several = figure2.draw(of_seeds(of(curves), "sum"), smoothing=20).axes[0]
    first = alone.lines[0].get_ydata()
    np.testing.assert_allclose(several.lines[0].get_ydata(), 3 * first, rtol=1e-4)
    np.testing.assert_allclose(band(several), (first[0], 6 * first[0]), rtol=1e-4)
    assert not alone.collections and len(several.lines) == len(alone.lines)

    (alone,) = titled(figure5.draw(of(main_runs(tables[0]))), "Value")
    (several,) = titled(figure5.draw(of_seeds(of(main_runs(tables[0])), "lca")), "Value")
    first = alone.lines[0].get_ydata()
    np.testing.assert_allclose(several.lines[0].get_ydata(), 3 * first)
    np.testing.assert_allclose(band(several), (first[0], 6 * first[0]))
    se = tables[0].query("objective == 'mlm' and component == 'value' and layer == 1 and head == 0")
    half = 1.96 * se.query("estimator == 'own_batch'")["se"].iloc[0]
    np.testing.assert_allclose(band(alone), (first[0] - half, first[0] + half))


def test_the_updates_may_have_a_logarithmic_axis(curves):
    scales = {panel.get_xscale() for panel in figure2.draw(of(curves), scale="log").axes[:9]}
    assert scales == {"log"}


def test_the_share_that_helps_is_in_percent(curves):
    figure = helping.draw(of(curves, "next_batch"), "next_batch", smoothing=1)
    rows = curves.query("objective == 'clm' and estimator == 'next_batch' and layer == 2")
    rows = rows[rows["component"].isin(["w1", "w2"])]
    line = figure.axes[7].lines[1]
    np.testing.assert_allclose(
        line.get_ydata(), 100 * rows.groupby("update")["helping"].mean(), rtol=1e-5
    )


def test_what_an_estimator_does_not_record_is_said(curves):
    panels = helping.draw(of(curves, "trapezoid"), "trapezoid").axes[:9]
    assert {text for panel in panels for text in texts(panel)} == {
        "not recorded for this estimator"
    }


# Figures 3 and 4


def test_a_heat_map_is_normalised_over_all_its_heads(totals):
    figure = figure3.draw(of(totals))
    (panel, *_) = titled(figure, "Key")
    (image,) = panel.images
    expected = [contributions(totals, "mlm", "key", head=head) for head in (1, 2)]
    np.testing.assert_allclose(image.get_array(), np.transpose(expected))
    assert (image.norm.vmin, image.norm.vmax) == (np.min(expected), np.max(expected))


def test_a_model_without_heads_says_so(totals):
    figure = figure3.draw(of(totals[totals["head"] == 0]))
    assert [texts(panel) for panel in figure.axes[:12]] == [["no heads"]] * 12


def test_figure_4_shows_every_positive_value_and_clips_the_highest(curves):
    masked = curves[curves["objective"] == "mlm"]
    (panel,) = titled(figure4.draw(of(masked, "next_batch"), "next_batch"), "Value")
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
    figure = figure4.draw(of(masked))
    assert texts(titled(figure, "Key")[0]) == ["never positive"]
    assert texts(titled(figure, "Out")[0]) == ["no data"]


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
    figures = [draw(of(totals)) for draw in BY_TOTALS.values()]
    figures += [draw(of(curves)) for draw in BY_CURVES.values()]
    figures.append(completeness.draw(synthetic.completeness(facets, 5, 2), curves))
    figures.append(held_out.draw(synthetic.probes(facets, 5, number=2, **SIZE | {"layers": size})))
    synthetic.write_log(tmp_path / "probed", facets["objective"], 5, probe_every=1, layers=size)
    figures.append(agreement.draw(read_agreement(tmp_path / "probed").assign(**facets)))
    for figure in figures:
        save(figure, tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 5000


def test_a_figure_is_written_in_both_formats_without_a_date(totals, tmp_path):
    for name in ("one", "two"):
        save(figure1.draw(of(totals)), tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()
