import bz2
import gzip
import io
import lzma
import tempfile
import zipfile
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from closer_look.data import text
from closer_look.data.members import Member
from closer_look.data.text import (
    check_intact,
    check_text,
    copy_lines,
    read_lines,
    read_pairs,
    write_lines,
)
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
    with pytest.raises(InputError, match=f"{path}: damaged or truncated"):
        list(read_lines(path))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("results/data/c/de-en/read/de.gz", "; remove {}, and Snakemake makes it anew"),
        ("results/data/c/de-en/download/a.gz", "; remove {.parent}, and Snakemake makes it anew"),
        ("mine/de.gz", ""),
    ],
)
def test_what_mends_a_damaged_file_is_said_if_snakemake_made_it(
    tmp_path, monkeypatch, name, remedy
):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b"one\n" * 999)[:-5])
    for function in (lambda: list(read_lines(path)), lambda: copy_lines(path, io.BytesIO())):
        with pytest.raises(InputError) as error:
            function()
        assert str(error.value).endswith("end-of-stream marker was reached" + remedy.format(path))


@pytest.mark.parametrize("short", ["source", "target"])
def test_sides_of_unequal_length_are_named(tmp_path, short):
    lines = {"source": ["a", "b"], "target": ["A", "B"], short: ["x"]}
    source, target = (write(tmp_path / side, lines[side]) for side in ("source", "target"))
    with pytest.raises(InputError, match=f"{tmp_path / short}: ends after line 1, "):
        list(read_pairs(source, target))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
@pytest.mark.parametrize("name", ["text", "text.de", "text.gz?download=1", "text?format=.xz"])
def test_content_tells_that_a_file_is_compressed_where_the_name_does_not(tmp_path, name, compress):
    path = tmp_path / name
    if name == "text.gz?download=1" and compress is not gzip.compress:
        return
    path.write_bytes(compress("ä\nb\n".encode()))
    if name.endswith(".xz") and compress is not lzma.compress:
        path = path.rename(tmp_path / "text?format=xz")
    assert list(read_lines(path)) == ["ä", "b"]


def test_what_a_server_compressed_once_more_is_read(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(gzip.compress(b"a\n")))
    assert list(read_lines(path)) == ["a"]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_every_stream_of_a_file_is_read_and_has_to_be_whole(tmp_path, compress):
    streams, path = [compress(b"one\ntwo\n"), compress(b"three\n" * 999)], tmp_path / "text"
    for padding in (b"", bytes(8)):
        path.write_bytes(padding.join(streams) + padding)
        assert len(list(read_lines(path))) == 1001
    for damaged in (streams[1][:-5], b"x" + streams[1], b"damaged", streams[1][:3]):
        path.write_bytes(streams[0] + damaged)
        for function in (lambda: list(read_lines(path)), lambda: check_intact(path, name=path)):
            with pytest.raises(InputError, match=f"^{path}: damaged or truncated"):
                function()


@pytest.mark.parametrize("name", ["text.gz", "text.bz2", "text.xz", "text.zst", "text.tgz"])
def test_an_empty_file_is_no_compressed_text(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{name}: damaged or truncated: it is empty"):
        list(read_lines(tmp_path / name))
    with pytest.raises(InputError, match=f"{name}: damaged or truncated: it is empty"):
        text.check_intact(tmp_path / name, name=name)


@pytest.mark.parametrize("name", ["text", "text.gz"])
@pytest.mark.parametrize("lines", [[10], [3, 9, 10, 1], [8, 8, 100], [0, 0, 25]])
def test_an_endless_line_is_refused_by_its_number(tmp_path, monkeypatch, name, lines):
    monkeypatch.setattr(text, "LONGEST_LINE", 9)
    monkeypatch.setattr(text, "CHUNK", 9)
    path = write(tmp_path / name, ["x" * length for length in lines])
    number = next(i for i, length in enumerate(lines, start=1) if length > 9)
    message = f"{path}: line {number}: over 9 bytes: is it text with a sentence a line?"
    for function in (lambda: list(read_lines(path)), lambda: copy_lines(path, io.BytesIO())):
        with pytest.raises(InputError) as error:
            function()
        assert str(error.value) == message


@pytest.mark.parametrize("lines", [[9] * 5, [0] * 30, [8, 0, 7], [1, 9, 9, 2]])
def test_lines_of_the_greatest_length_are_copied(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(text, "LONGEST_LINE", 9)
    monkeypatch.setattr(text, "CHUNK", 9)
    path = write(tmp_path / "text", ["x" * length for length in lines])
    assert copy_lines(path, copied := io.BytesIO()) == len(lines)
    assert copied.getvalue() == path.read_bytes()
    assert len(list(read_lines(path))) == len(lines)


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


def test_a_wrong_suffix_of_compression_does_no_harm(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(lzma.compress(b"a\n"))
    assert list(read_lines(path)) == ["a"]
    path.write_bytes(b"plain\n")
    with pytest.raises(InputError, match=f"{path}: damaged or truncated"):
        list(read_lines(path))


@pytest.mark.parametrize("suffix", [".bz2", ".xz", ".zst", ".zip"])
def test_what_decompresses_without_end_is_refused(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(text, "ALWAYS", 1 << 20)
    path, content = tmp_path / f"bomb{suffix}", bytes(16 << 20)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("text", content)
    else:
        compress = {".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}[suffix]
        path.write_bytes(compress(content))
    message = f"{path}: its {path.stat().st_size} bytes decompress to over 1000 times as many"
    with pytest.raises(InputError, match=message):
        text.check_intact(path, name=path)


FOREIGN = [
    (b"7z\xbc\xaf\x27\x1c\0\4", "a .7z archive: unpack it"),
    (b"Rar!\x1a\x07\x01\0", "a .rar archive: unpack it"),
    (lzma.compress(b"one\n", lzma.FORMAT_ALONE), "compressed by `lzma`: unpack it"),
    (b"<!DOCTYPE html>\n<html>\n", "a web page and not a file"),
    (b"\xef\xbb\xbf \n<HTML>\n", "a web page and not a file"),
    (b"%PDF-1.7\n1\n", "a PDF: its text is needed"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "the pointer of Git LFS"),
]
NO_TEXT = [
    *FOREIGN,
    (b"<?xml version='1.0'?>\n<tmx>\n", "XML: its text is needed, a sentence a line"),
    (b"\n<TMX version='1.4'>\n", "XML: its text is needed"),
    (b"<!DOCTYPE srcset SYSTEM 'x'>\n<srcset setid='a'>\n", "XML: its text is needed"),
    (b"<refset setid='a' srclang='en'>\n<doc>\n", "XML: its text is needed"),
    (b'{"en": "one", "de": "eins"}\n', "JSON: its text is needed"),
    (b'[ "one", "two" ]\n', "JSON: its text is needed"),
    (b"one\rtwo\rthree", "its lines end in carriage returns alone: `tr '\\r' '\\n'`"),
    ("one\ntwo\n".encode("utf-16-le"), "not UTF-8: UTF-16LE becomes it by `iconv"),
    ("one\ntwo\n".encode("utf-16-be"), "not UTF-8: UTF-16BE becomes it by `iconv"),
    ("\ufeff一\n二\n".encode("utf-16-be"), "not UTF-8: UTF-16 becomes it by `iconv"),
    ("one\ntwo\n".encode("utf-32"), "not UTF-8: UTF-32 becomes it by `iconv"),
]
TEXT = [
    b"one\r\ntwo\r\n",
    b"one\rmore\rtwo\nthree\n",
    b'{one}: "two"\n',
    b"[1] one\n",
    b"<doctor> a\n",
]


@pytest.mark.parametrize("content", TEXT)
def test_what_looks_a_little_like_something_else_is_text(tmp_path, content):
    path = tmp_path / "text.en"
    path.write_bytes(content)
    check_text(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("content", [b"", b"plain text\n", gzip.compress(b"one\n" * 99)[:20]])
def test_text_that_is_damaged_from_its_beginning_on_is_named(tmp_path, suffix, content):
    path = tmp_path / f"text.en{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: damaged or truncated") as error:
        check_text(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(("content", "what"), NO_TEXT)
def test_what_is_no_text_is_not_read_as_such(tmp_path, content, what, compress):
    path = tmp_path / "text.en"
    path.write_bytes(compress(content))
    for function in (check_text, lambda text: copy_lines(text, io.BytesIO())):
        with pytest.raises(InputError) as error:
            function(path)
        assert str(error.value).startswith(f"{path}: {what}")


@pytest.mark.parametrize("name", ["a.gz", "a.zip", "a"])
@pytest.mark.parametrize(("content", "what"), FOREIGN)
def test_what_cannot_be_read_is_no_damaged_archive(tmp_path, content, what, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        check_intact(tmp_path / name, "its URL")
    assert str(error.value).startswith(f"its URL: {what}")


def test_what_only_looks_odd_is_text(tmp_path):
    for content in (
        b"",
        b"<html is a tag>\n"[1:],
        b"Rar! Rar!\n",
        b"a\0b c d\n",
        b"7z\n",
        b"<b>\n",
    ):
        (tmp_path / "text").write_bytes(content)
        check_text(tmp_path / "text")
        check_intact(tmp_path / "text", "its URL")
