import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from closer_look.data.text import Member, read_lines, read_pairs, write_lines
from closer_look.jobs.job import InputError


def write(path, lines):
    with write_lines(path) as write_line:
        for line in lines:
            write_line(line)
    return path


line = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))


@settings(deadline=None)
@given(st.lists(line), st.sampled_from(["text", "text.gz"]))
@example([" a \t", "", "b\r", "c\u2028d\x85"], "text.gz")
def test_lines_come_back_as_written(lines, name):
    with tempfile.TemporaryDirectory() as folder:
        assert list(read_lines(write(Path(folder, name), lines))) == lines


def test_gzip_bytes_depend_on_the_lines_alone(tmp_path, monkeypatch):
    first = write(tmp_path / "one.gz", ["a", "b"]).read_bytes()
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert write(tmp_path / "two.gz", ["a", "b"]).read_bytes() == first
    assert gzip.decompress(first) == b"a\nb\n"


def test_a_failed_writer_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), write_lines(tmp_path / "out.gz") as write_line:
        write_line("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["bad", "bad.gz"])
def test_bad_bytes_are_named_by_file_and_line(tmp_path, name):
    path = tmp_path / name
    content = b"good\nb\xfcse\n"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(InputError, match=f"{path}: line 2: not UTF-8"):
        list(read_lines(path))


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-20], lambda b: b"no gzip", lambda b: b[:60] + b"?" * 60]
)
def test_damaged_gzip_is_named(tmp_path, damage):
    path = tmp_path / "cut.gz"
    path.write_bytes(damage(gzip.compress("".join(map(str, range(999))).encode())))
    with pytest.raises(InputError, match=f"{path}: damaged or truncated after line "):
        list(read_lines(path))


@pytest.mark.parametrize("short", ["source", "target"])
def test_sides_of_unequal_length_are_named(tmp_path, short):
    lines = {"source": ["a", "b"], "target": ["A", "B"], short: ["x"]}
    source, target = (write(tmp_path / side, lines[side]) for side in ("source", "target"))
    with pytest.raises(InputError, match=f"{tmp_path / short}: ends after line 1, "):
        list(read_pairs(source, target))


@pytest.mark.parametrize("name", ["corpus.zip", "corpus.tar", "corpus.txt.gz"])
def test_a_missing_file_is_missing_and_not_damaged(tmp_path, name):
    path = tmp_path / name
    text = path if name.endswith(".txt.gz") else Member(path, "*.en")
    with pytest.raises(InputError, match=f"^{path}: no such file or directory$"):
        list(read_lines(text))


def test_a_file_that_could_not_be_written_is_not_there(tmp_path):
    with pytest.raises(ZeroDivisionError), write_lines(tmp_path / "made" / "text") as write:
        write("one")
        raise ZeroDivisionError
    assert [*tmp_path.rglob("*")] == [tmp_path / "made"]
