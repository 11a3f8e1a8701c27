import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closer_look.data.text import read_lines, write_lines
from scripts.data.clean import clean, fault, normalise


def run(tmp_path, pairs, max_words=5, max_ratio=3.0):
    """Clean the pairs; return the pairs kept and the counts."""
    paths = [tmp_path / name for name in ("s.gz", "t.gz", "clean.s.gz", "clean.t.gz")]
    for path, lines in zip(paths, zip(*pairs, strict=True), strict=False):
        with write_lines(path) as write:
            for line in lines:
                write(line)
    counts = clean(*paths, max_words, max_ratio)
    return list(zip(*map(read_lines, paths[2:]), strict=True)), counts


def test_each_fault_is_counted_once_and_the_fit_pairs_are_kept_in_order(tmp_path):
    pairs = [
        ("b", "B"),
        ("", "B"),
        ("b", " \t\u2028"),
        ("1 2 3 4 5 6", "1 2 3 4 5 6"),
        ("1 2 3 4", "1"),
        ("b", "B"),
        (" b\u00a0", "B\r"),
        ("b", "another"),
        ("1 2 3", "1"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        ("a", "A"),
    ]
    kept, counts = run(tmp_path, pairs)
    assert kept == [
        ("b", "B"),
        ("b", "another"),
        ("1 2 3", "1"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        ("a", "A"),
    ]
    assert counts == {"kept": 5, "empty": 2, "long": 1, "ratio": 1, "duplicate": 2}


def test_a_pair_is_not_mistaken_for_another_with_the_same_words(tmp_path):
    pairs = [("a b", "c"), ("a", "b c")]
    assert run(tmp_path, pairs)[0] == pairs


def test_cleaning_twice_changes_nothing(tmp_path):
    pairs = [(f"a  {i % 7}", f"b {i % 3} {'x ' * (i % 9)}") for i in range(99)]
    once, _ = run(tmp_path, pairs)
    twice, counts = run(tmp_path, once)
    assert twice == once
    assert counts["kept"] == len(once) > 20


@settings(deadline=None)
@given(st.text())
def test_normalised_lines_have_words_and_single_blanks_only(line):
    normal = normalise(line)
    assert normal.split() == line.split()
    assert normal.splitlines() in ([], [normal])
    assert normal == normal.strip()
    assert "  " not in normal


@pytest.mark.parametrize(
    ("words", "expected"),
    [((9, 1), None), ((10, 1), "ratio"), ((20, 2), "ratio"), ((251, 250), "long")],
)
def test_limits_hold_for_both_sides(words, expected):
    lines = [" ".join("x" * count) for count in words]
    assert fault(*lines, max_words=250, max_ratio=9.0) == expected
    assert fault(*reversed(lines), max_words=250, max_ratio=9.0) == expected
