import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closer_look.data.text import read_pairs, write_lines
from closer_look.jobs.job import InputError
from scripts.data import split as module
from scripts.data.split import PARTS, assign, hash_lines, split

PAIRS = [(f"line {i % 150}", f"Zeile {i}" if i % 9 else "OK") for i in range(200)] + [("OK", "OK")]


def write_corpus(folder, pairs):
    paths = folder / "all.en.gz", folder / "all.de.gz"
    for path, lines in zip(paths, zip(*pairs, strict=True), strict=True):
        with write_lines(path) as write:
            for line in lines:
                write(line)
    return paths


def run(folder, pairs=PAIRS, valid=10, test=12, max_train=None, seed=1):
    """Split the pairs; return the pairs of each part and the counts."""
    outputs = {part: (folder / f"{part}.en.gz", folder / f"{part}.de.gz") for part in PARTS}
    counts = split(*write_corpus(folder, pairs), outputs, valid, test, max_train, seed)
    return {part: list(read_pairs(*paths)) for part, paths in outputs.items()}, counts


def lines(pairs):
    return {line for pair in pairs for line in pair}


def test_no_part_shares_a_line_with_another(tmp_path):
    parts, counts = run(tmp_path)
    assert {part: len(pairs) for part, pairs in parts.items()} == {p: counts[p] for p in PARTS}
    assert (counts["valid"], counts["test"]) == (10, 12)
    assert not lines(parts["train"]) & lines(parts["valid"] + parts["test"])
    assert not lines(parts["valid"]) & lines(parts["test"])


def test_only_what_shares_a_line_is_dropped_and_the_order_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    parts, counts = run(tmp_path)
    held_out = parts["valid"] + parts["test"]
    assert parts["train"] == [pair for pair in PAIRS if not lines([pair]) & lines(held_out)]
    assert counts["shared"] > 0
    assert sum(counts.values()) == len(PAIRS)


corpora = st.lists(st.tuples(st.integers(0, 9), st.integers(5, 14)), min_size=1, max_size=60)


@settings(deadline=None)
@given(corpora, st.integers(0, 5), st.integers(0, 5), st.none() | st.integers(1, 9), st.integers(0))
def test_parts_of_any_corpus_are_disjoint_in_their_lines(pairs, valid, test, max_train, seed):
    hashes = np.array(pairs, dtype=np.uint64)
    parts = assign(hashes, valid, test, max_train, seed)
    of = {i: set(hashes[parts == i].ravel().tolist()) for i in range(5)}
    assert not of[module.TRAIN] & (of[module.VALID] | of[module.TEST])
    assert not of[module.VALID] & of[module.TEST]
    assert np.count_nonzero(parts == module.TEST) <= test
    assert np.count_nonzero(parts == module.VALID) <= valid
    for pair in hashes[parts == module.SHARED].tolist():
        assert set(pair) & (of[module.VALID] | of[module.TEST])
    candidates = np.isin(parts, (module.TRAIN, module.UNUSED)).sum()
    size = candidates if max_train is None else min(max_train, candidates)
    assert np.count_nonzero(parts == module.TRAIN) == size


def test_the_seed_decides(tmp_path):
    first, again, other = (run(tmp_path, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first["test"] != other["test"]


def test_the_choice_does_not_depend_on_pythons_hash_seed(tmp_path):
    paths = write_corpus(tmp_path, PAIRS)
    program = (
        "import sys; from split import *; hashes = hash_lines(*sys.argv[1:]);"
        "print(hashes.tolist(), assign(hashes, 9, 9, 99, 1).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, *paths],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(module.__file__).parent,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_files_are_the_same_each_time(tmp_path):
    contents = []
    for _ in range(2):
        run(tmp_path)
        contents.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert contents[0] == contents[1]


def test_a_smaller_training_set_is_a_random_part_with_the_same_held_out_sets(tmp_path):
    whole, counts = run(tmp_path)
    small, fewer = run(tmp_path, max_train=50)
    assert (fewer["train"], fewer["unused"]) == (50, counts["train"] - 50)
    assert set(small["train"]) < set(whole["train"])
    assert small["train"] != whole["train"][:50]
    assert (small["valid"], small["test"]) == (whole["valid"], whole["test"])


def test_another_validation_size_keeps_the_test_set(tmp_path):
    assert run(tmp_path, valid=3)[0]["test"] == run(tmp_path, valid=10)[0]["test"]


def test_sets_may_be_empty(tmp_path):
    parts, _ = run(tmp_path, valid=0, test=0)
    assert parts == {"train": PAIRS, "valid": [], "test": []}


@pytest.mark.parametrize(("valid", "test"), [(2, 2), (2, 1), (3, 0)])
def test_a_corpus_too_small_is_named_with_the_keys(tmp_path, valid, test):
    pairs = [("a", "A"), ("b", "B"), ("c", "C")]
    message = rf"all.en.gz: 3 pairs are too few for `valid` \({valid}\) and `test` \({test}\)"
    with pytest.raises(InputError, match=message):
        run(tmp_path, pairs, valid, test)


def test_a_corpus_with_too_few_lines_of_their_own(tmp_path):
    with pytest.raises(InputError, match="100 pairs are too few"):
        run(tmp_path, [("OK", f"{i}") for i in range(100)], valid=1, test=1)


def test_hashes_tell_lines_apart(tmp_path):
    hashes = hash_lines(*write_corpus(tmp_path, PAIRS))
    assert hashes.shape == (len(PAIRS), 2)
    assert len(np.unique(hashes)) == len(lines(PAIRS))


SPELLINGS = [
    "\ufeffThe ﬁle．",
    "The file.",
    "The\u200b file.",
    "The▁file.",
    "Ｔｈｅ file.",
    "The file.\x07",
]


def test_spellings_that_are_one_line_to_the_model_are_in_one_part(tmp_path):
    others = [(f"one {i}", f"eins {i}") for i in range(30)]
    pairs = [(line, f"Datei {i}") for i, line in enumerate(SPELLINGS)] + others
    for seed in range(20):
        parts, _ = run(tmp_path, pairs, valid=4, test=4, seed=seed)
        holding = [part for part in PARTS if lines(parts[part]) & set(SPELLINGS)]
        assert len(holding) == 1
        if holding != ["train"]:
            assert len(lines(parts[holding[0]]) & set(SPELLINGS)) == 1


def test_hashes_are_of_what_the_model_sees_whatever_the_batch(tmp_path, monkeypatch):
    paths = write_corpus(tmp_path, [(line, "x") for line in SPELLINGS] + PAIRS)
    hashes = hash_lines(*paths)
    assert len(np.unique(hashes[: len(SPELLINGS), 0])) == 1
    monkeypatch.setattr(module, "BATCH", 7)
    assert (hash_lines(*paths) == hashes).all()
