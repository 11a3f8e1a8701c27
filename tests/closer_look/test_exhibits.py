"""What the rules register as figures and tables."""

from types import SimpleNamespace

import pytest

from closer_look.exhibits import Exhibits

INPUTS = SimpleNamespace(
    config={"figures": {"also": ["trapezoid"]}}, estimator=lambda wildcards: wildcards["suffix"]
)


@pytest.fixture
def marked():
    """What was marked as part of Snakemake's report, by its path."""
    return {}


@pytest.fixture
def exhibits(marked):
    def report(path, **about):
        marked[path] = about
        return path

    return Exhibits(INPUTS, report)


def test_a_figure_has_files_by_other_estimators(exhibits, marked):
    found = exhibits.figure("bars", "Bars", "Paper")
    assert found == {f: f"results/figures/bars{{suffix}}.{f}" for f in ("pdf", "png")}
    assert exhibits.paths == ["results/figures/bars.png", "results/figures/bars.trapezoid.png"]
    about = marked[found["png"]]
    assert (about["caption"], about["category"]) == ("../report/bars.rst", "Paper")
    labels = about["labels"]({"suffix": "own_batch"})
    assert labels == {"shows": "Bars", "estimator": "own_batch"}


def test_a_table_is_of_all_estimators(exhibits, marked):
    found = exhibits.table("sums", "Sums")
    assert found == {f: f"results/tables/sums.{f}" for f in ("csv", "md", "tex")}
    assert exhibits.paths == [found["csv"]]
    assert marked[found["csv"]]["labels"]({}) == {"shows": "Sums", "estimator": "all"}


def test_what_has_nothing_to_draw_has_a_rule_all_the_same(exhibits):
    assert exhibits.figure("truth", "The truth", when=[]).keys() == {"pdf", "png"}
    assert exhibits.paths == exhibits.names == []


def test_a_figure_and_its_table_have_one_name(exhibits):
    exhibits.figure("agreement", "In bars")
    exhibits.table("agreement", "In numbers")
    assert exhibits.names == ["agreement"] and len(exhibits.paths) == 3
