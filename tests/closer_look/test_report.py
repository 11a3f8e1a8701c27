import gzip
import json
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

import report_tables
from closer_look.drawing.style import COLOURS
from closer_look.page import page as page_module
from closer_look.page.curves import Buffer, add_curves, regroup
from closer_look.page.exhibits import (
    Captions,
    Figure,
    cell,
    first_sentence,
    is_number,
    name_and_estimator,
    number,
    read_figure,
    read_table,
    title,
)
from closer_look.page.explorer import Explorer
from closer_look.page.page import TABLES, PageError, RunFiles, packed, page
from closer_look.page.runs import (
    RULE,
    RunSummary,
    agreed,
    hardware,
    labels,
    own_facts,
    version,
    warnings,
)
from closer_look.page.verdicts import arrange, count, survivors

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


def test_verdicts_are_counted_by_estimator():
    claims = arrange(report_tables.claims())
    assert count(claims, "own_batch") == {"holds": 2, "fails": 0, "not applicable": 1}
    assert count(claims, "trapezoid") == {"holds": 1, "fails": 1, "not applicable": 1}
    assert survivors(claims, "own_batch", "trapezoid") == 1
    assert [claim.disputed for claim in claims] == [False, True, False]


def test_claims_have_a_row_for_each_estimator():
    _, second, _ = arrange(report_tables.claims())
    assert (second.number, second.formula) == (2, "H[2] > 0")
    assert list(second.rows) == list(report_tables.ESTIMATORS)
    assert second.rows["trapezoid"]["verdict"] == "fails"


def summary(run=MLM, **facts):
    tables = report_tables.tables(run)
    manifest = report_tables.manifest(run) | facts
    read = (tables[name] for name in ("losses", "completeness", "scores"))
    return RunSummary(run.languages, manifest, *read)


def test_a_run_is_summarised():
    run = summary()
    assert (run.name, run.objective, run.updates) == (MLM.name, "mlm", 400)
    assert run.first_loss > run.last_loss == pytest.approx(report_tables.LAST)
    assert run.shares == pytest.approx(report_tables.ESTIMATORS)
    assert run.share_texts["trapezoid"] == "100.0 ± 3.2 %"  # sqrt(0.09**2 + 0.03**2) of 3 nats
    assert (run.duration, run.device) == (timedelta(minutes=30), "Some CPU")


def test_without_a_standard_error_a_share_has_no_decimals():
    run = summary()
    run = replace(run, completeness=run.completeness.query("reference != 'dropout'"))
    assert run.share_texts["trapezoid"] == "100 %"


def test_an_attempt_says_what_it_ran_on_and_by_which_code():
    attempt = report_tables.attempt(10, None, 0)
    assert hardware(attempt | {"devices": ["A100", "A100"]}) == "2 × A100"
    assert version(attempt) == "c0ffeec0ff"
    assert version(attempt | {"code": attempt["code"] | {"modified": True}}).endswith("changes")
    assert version(attempt | {"code": attempt["code"] | {"commit": None}}) == "sha256 2222222222"


def test_a_run_without_measurements_has_no_shares():
    run = summary()
    run = replace(run, completeness=run.completeness.head(0))
    assert run.shares == {}
    assert list(warnings(run, [run])) == []


def losses_times(run, factor):
    losses = run.losses.assign(loss=run.losses["loss"] * factor)
    return replace(run, losses=losses)


def flat(run):
    return replace(run, losses=run.losses.assign(loss=8.0))


def off(run):
    return replace(run, completeness=run.completeness.assign(lca=run.completeness["lca"] * 2))


def not_finite(run):
    losses = run.losses.copy()
    losses.loc[5, "loss"] = np.inf
    return replace(run, losses=losses)


def scoring(run, **scores):
    return replace(run, scores=run.scores.assign(**scores))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            scoring(summary(), masked_loss=6.31),
            "test loss 6.31, where word frequencies alone give 7.00",
        ),
        (
            scoring(summary(MT), bleu=9.9),
            "BLEU 9.9 at best: its translations are of hardly any use",
        ),
        (summary(settings={"total_updates": 500}), "ends after 400 of 500 updates"),
        (not_finite(summary()), "the loss is not finite throughout"),
        (flat(summary()), "hardly learned: the loss went from 8.00 to 8.00"),
        (losses_times(summary(), 1.5), "final loss 7.50, where 5.00 is usual for its objective"),
        (off(summary()), "no estimator adds up to the change of its loss within 25%"),
        (
            summary(packages={"torch": "1.0", "numpy": "2.4.6"}),
            "torch 1.0, where most runs have 2.13.0",
        ),
    ],
)
def test_what_is_wrong_with_a_run_is_said(bad, message):
    runs = [bad, *(summary() for _ in range(4))]
    assert message in list(warnings(bad, runs))
    assert [list(warnings(run, runs)) for run in runs[1:]] == [[]] * 4


def test_scores_at_the_limits_are_no_reason_to_warn():
    masked, mt = scoring(summary(), masked_loss=6.29), scoring(summary(MT), bleu=10.0)
    assert [list(warnings(run, [masked, mt])) for run in (masked, mt)] == [[], []]


def test_one_good_test_set_is_enough_and_none_is_no_reason_to_warn():
    mt = summary(MT)
    other = mt.scores.assign(test_set="wmt18", bleu=3.0, loss=np.nan)
    both = replace(mt, scores=pd.concat([mt.scores, other]))
    none = replace(mt, scores=mt.scores.head(0))
    assert [list(warnings(run, [both, none])) for run in (both, none)] == [[], []]


def test_labels_say_what_tells_runs_apart():
    assert labels([MLM.name, MT.name]) == ["Masked LM · en", "Translation · en→de"]
    others = [MLM.name, MLM._replace(corpus="other", seed=2).name]
    assert labels(others) == ["Masked LM · en, toy, 1", "Masked LM · en, other, 2"]


def test_facts_are_those_of_all_runs_or_of_one():
    runs = [summary(MLM), summary(MT, python="3.12.1")]
    assert agreed(runs)["settings.lr"] == "0.001"
    assert own_facts(runs[1], runs) == {"run": MT.name, "python": "3.12.1"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("figures/figure1.png", ("figure1", None)),
        ("figures/held_out.next_batch.png", ("held_out", "next_batch")),
    ],
)
def test_a_figures_name_may_end_in_an_estimator(path, expected):
    assert name_and_estimator(path) == expected


def test_captions_refer_to_the_settings_of_the_figures(tmp_path):
    (tmp_path / "figure2.rst").write_text(
        "{{ snakemake.params.smoothing }} by {{ snakemake.params.estimator }}"
    )
    captions = Captions([tmp_path / "figure2.rst"], {"smoothing": 20, "estimator": "own_batch"})
    assert captions.read("figure2", None) == "<p>20 by own_batch</p>\n"
    assert captions.read("figure2", "next_batch") == "<p>20 by next_batch</p>\n"


def test_titles_are_read_from_names():
    assert [title(name) for name in ("figure1", "held_out")] == ["Figure 1", "Held out"]


def test_the_alternative_text_is_a_captions_first_sentence():
    html = "<p><strong>Figure 1.</strong> All the &lt;layers&gt;, <em>summed</em>. Up lowers.</p>"
    assert first_sentence(html) == "All the <layers>, summed."
    assert first_sentence("<p>Short.</p>") == "Short."


def test_figures_and_tables_are_embedded(tmp_path):
    plt.figure(figsize=(2, 1)).savefig(tmp_path / "figure1.png", dpi=100)
    (tmp_path / "t.csv").write_text(",b\n1,NA\n,\n")
    names = [tmp_path / f"{name}.rst" for name in ("figure1", "t")]
    for path in names:
        path.write_text("What is *drawn* here.")
    captions = Captions(names, {})
    figure = read_figure(tmp_path / "figure1.png", captions)
    assert (figure.width, figure.height) == (200, 100)
    assert figure.caption == "<p>What is <em>drawn</em> here.</p>\n"
    assert b64decode(figure.uri.removeprefix("data:image/webp;base64,"))[8:12] == b"WEBP"
    table = read_table(tmp_path / "t.csv", captions)
    assert (table.header, table.numeric) == (["", "b"], [True, False])
    assert table.rows == [["1", "NA"], ["–", "–"]]
    assert b64decode(table.uri.removeprefix("data:text/csv;base64,")) == b",b\n1,NA\n,\n"


def test_numbers_are_recognised_and_rounded():
    numbers = (0.0012345, -4.5, 12, np.inf)
    assert [number(value) for value in numbers] == ["0.00123", "−4.5", "12", "∞"]
    texts = ["24.0", "125000", "0.00123456", "", "0.9, 0.98"]
    assert [cell(text) for text in texts] == ["24", "125,000", "0.00123", "–", "0.9, 0.98"]
    assert all(map(is_number, ["12", "−1.5", "1.92M", "2.5k", "93 %", "5e-4", "1,000", ""]))
    assert not any(map(is_number, ["0.9, 0.98", "x1", "en-de"]))


def test_the_papers_figures_come_first():
    files = ("helping", None), ("figure2", None), ("figure1", "next_batch"), ("figure1", None)
    figures = [Figure(name, estimator, "", "", "", 1, 1) for name, estimator in files]
    groups = page_module._by_name(figures)
    assert list(groups) == ["figure1", "figure2", "helping"]
    assert [figure.estimator for figure in groups["figure1"]] == ["next_batch", None]


def test_packing_is_repeatable():
    assert packed(b"abc") == packed(b"abc")
    assert gzip.decompress(b64decode(packed(b"abc"))) == b"abc"


@pytest.fixture
def arguments(tmp_path):
    report_tables.write(tmp_path, [MLM, MT])
    runs = [
        RunFiles(
            tmp_path / "runs" / run.name / "run.json",
            {name: tmp_path / "runs" / run.name / f"{name}.parquet" for name in TABLES},
        )
        for run in (MLM, MT)
    ]
    claims = pd.read_csv(tmp_path / "tables/claims.csv")
    return {"runs": runs, "main_runs": [], "claims": claims, "figures": [], "tables": []}


def test_a_page_that_grows_too_large_has_fewer_points(arguments, monkeypatch):
    full = len(page(**arguments).encode())
    monkeypatch.setattr(page_module, "MOST_BYTES", full - 1)
    smaller = len(page(**arguments).encode())
    assert smaller < full
    monkeypatch.setattr(page_module, "MOST_BYTES", 1000)
    with pytest.raises(PageError, match="over 1000 bytes"):
        page(**arguments)


def test_a_run_that_went_wrong_is_named_up_front(arguments):
    assert "Read with care" not in page(**arguments)
    manifest = json.loads(arguments["runs"][0].manifest.read_text())
    manifest["settings"]["total_updates"] = 1000
    arguments["runs"][0].manifest.write_text(json.dumps(manifest))
    text = " ".join(page(**arguments).split())
    assert "1 of the 2 runs ended badly or score badly" in text
    assert text.index("of the 2 runs ended badly") < text.index("ends after 400 of 1,000 updates")


def test_the_page_has_the_rule_of_its_warnings_and_every_attempt(arguments):
    html = page(**arguments)
    assert html.count(RULE) == 1
    assert html.count("<td>c0ffeec0ff</td>") == 2 * 3
    assert html.count("<td>killed</td>") == 2


def test_the_same_tables_give_the_same_page(arguments):
    assert page(**arguments) == page(**arguments)
