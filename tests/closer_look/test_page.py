"""The page: its verdicts, figures and tables, and the whole."""

import gzip
import json
from base64 import b64decode

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import report_tables
from closer_look.page import page as page_module
from closer_look.page.exhibits import (
    Captions,
    Figure,
    Table,
    cell,
    first_sentence,
    is_number,
    name_and_estimator,
    number,
    read_figure,
    read_table,
    title,
)
from closer_look.page.page import TABLES, PageError, RunFiles, packed, page
from closer_look.page.runs import RULE
from closer_look.page.verdicts import arrange, count, of_paper, survivors, tally

MLM, ESTONIAN, CLM, MT = report_tables.RUNS


def test_verdicts_are_counted_by_estimator():
    claims = arrange(report_tables.claims())
    counts = {"holds": 3, "undecided": 0, "fails": 1, "not applicable": 1}
    assert count(claims, "own_batch") == counts
    assert count(claims, "trapezoid") == counts | {"holds": 2, "undecided": 1}
    assert survivors(claims, "own_batch", "trapezoid") == 2
    assert [claim.disputed for claim in claims] == [False, True, False, False, False]
    assert [claim.number for claim in of_paper(claims)] == ["1", "2", "3", "24a"]


def test_claims_have_a_row_for_each_estimator():
    second = arrange(report_tables.claims())[1]
    assert (second.number, second.formula) == ("2", "H[2] > 0")
    assert second.unlearned == ["toy/mlm/en/base/1"]
    assert list(second.rows) == list(report_tables.ESTIMATORS)
    assert second.rows["trapezoid"]["verdict"] == "fails"
    assert tally(second.rows["trapezoid"]) == "3 of 4 inequalities hold; fails by: mlm"


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
    claims = pd.read_csv(tmp_path / "tables/claims.csv", dtype={"claim": str})
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


def test_a_figure_and_a_table_of_one_name_can_be_linked_to(arguments):
    figure = Figure("same", None, "", "", "", 1, 1)
    table = Table("same", None, "", ["a"], [True], [["1"]], "")
    html = page(**arguments | {"figures": [figure], "tables": [table]})
    assert html.count('id="same"') == html.count('id="table-same"') == 1


def test_the_same_tables_give_the_same_page(arguments):
    assert page(**arguments) == page(**arguments)
