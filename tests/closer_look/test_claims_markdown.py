"""The page of the verdicts."""

import numpy as np
import pandas as pd
import pytest

from closer_look.analysis import claims
from closer_look.analysis.claims import markdown
from closer_look.vocabulary import FACETS
from worlds import ENCODER, MAIN, MLM, MT, World, change, swing, unsure


@pytest.fixture(scope="module")
def verdicts():
    """Verdicts by three estimators: claim 5 holds, fails, and is undecided."""
    tables = []
    for estimator, blur in (("own_batch", 0), ("next_batch", 0), ("trapezoid", 9)):
        world = World()
        if estimator != "next_batch":
            change(MT, ["value", "out"], at=ENCODER, to=[3, 1, 1, 1, 1, 3])(world)
        swing(blur)(world)
        unsure(blur)(world)
        tables.append(world.tables(estimator))
    tables = {name: pd.concat([each[name] for each in tables]) for name in tables[0]}
    scores = pd.DataFrame([dict(zip(FACETS, MLM, strict=True))]).assign(
        loss=np.nan, masked_loss=6.0, unigram_loss=6.1
    )
    return claims.evaluate(**tables, main=MAIN, scores=scores, resamples=99)


def rows(page):
    """Return the cells of the lines of tables."""
    lines = (line for line in page.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_page_has_a_row_per_claim_and_a_column_per_estimator(verdicts):
    page = markdown.write(verdicts)
    header, _, *body = rows(page)
    assert header[-3:] == ["own_batch", "next_batch", "trapezoid"]
    cells = {row[0]: row[3:] for row in body}
    assert len(cells) == 27 + 2  # two tables, the second with a header of its own
    own, other, blurred = cells["5"]
    assert own == "✓ 1.20 [1.20, 1.20] (> 0), 2 of 2"
    assert other == "✗ 0 [0, 0] (> 0), 0 of 2"
    assert blurred.startswith("? 1.20 [−") and blurred.endswith("0 of 2")
    assert cells["24a"] == ["– ⚠"] * 3
    assert "- 24a (own_batch, next_batch, trapezoid): 3 runs are too few" in page
    assert all(f"\n- {claim}: " in page for claim in verdicts["claim"])


def test_the_first_line_counts_three_kinds(verdicts):
    first = markdown.write(verdicts).splitlines()[0]
    ours = verdicts[verdicts["group"] == "the paper"]
    for name, mine in ours.groupby("estimator", sort=False):
        counts = mine["verdict"].value_counts()
        words = {"holds": "hold", "fails": "fail", "undecided": "undecided"}
        expected = [
            f"{counts[verdict]} {word}" for verdict, word in words.items() if verdict in counts
        ]
        assert f"{name}: of the paper's 25 claims, {', '.join(expected)}" in first


def test_claims_of_others_have_a_table_of_their_own_with_sources(verdicts):
    page = markdown.write(verdicts)
    others = page[page.index("what others say") :]
    assert "arXiv 2410.11451" in others and "arXiv 2508.17734" in others
    assert "arXiv" not in page[: page.index("what others say")]


def test_it_says_how_many_inequalities_hold_and_which_decide(verdicts):
    lines = markdown.write(verdicts).splitlines()
    five = [line for line in lines if line.startswith("- 5, ")]
    assert five == [
        "- 5, own_batch: 2 of 2 inequalities hold; nearest to failing: value: ends over middle",
        "- 5, next_batch: 0 of 2 inequalities hold; fails by: value: ends over middle; "
        "out: ends over middle",
        "- 5, trapezoid: 0 of 2 inequalities hold; undecided: value: ends over middle; "
        "out: ends over middle",
    ]
    (eight,) = (line for line in lines if line.startswith("- 8, own_batch"))
    assert eight.endswith("; and 5 more")


def test_models_that_have_hardly_learned_are_marked(verdicts):
    page = markdown.write(verdicts)
    assert "⚠ Hardly better than the frequencies of words are europarl/mlm/en/base/1." in page
    cells = {row[0]: row[3:] for row in rows(page)}
    assert "⚠" in cells["2"][0] and "⚠" not in cells["5"][0]
    learned = verdicts.assign(unlearned="")
    assert "⚠" not in markdown.write(learned)


def test_verdicts_read_from_a_file_give_the_same_page(verdicts, tmp_path):
    verdicts.to_csv(tmp_path / "claims.csv", index=False)
    read = pd.read_csv(tmp_path / "claims.csv", dtype={"claim": str})
    assert markdown.write(read) == markdown.write(verdicts)


def test_the_overview_has_marks_only(verdicts):
    overview = markdown.overview(verdicts)
    cells = {row[0]: row[3:] for row in rows(overview)}
    assert cells["5"] == ["✓", "✗", "?"]
    assert cells["2"][0] == "✗ ⚠"
    assert "✓ holds, ✗ fails, ? undecided" in overview


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12.345, "12.3"), (-0.012345, "−0.0123"), (1234.5, "1234"), (np.inf, "∞")],
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert markdown._number(value) == text
