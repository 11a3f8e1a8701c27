"""Text files, one sentence a line: read and written as streams, compressed or not.

A text may also be a member of a .zip or .tar archive, which is read without unpacking it. Written
files are compressed by their names.
"""

import codecs
import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

from closer_look.data.compressed import (
    DAMAGE,
    Binary,
    damaged,
    foreign,
    is_tar,
    is_zip,
    no_text,
    open_binary,
    open_raw,
)
from closer_look.data.members import Archive, Header, Member, find_only, open_member
from closer_look.jobs.job import InputError
from lca.files import whole

CHUNK = 1 << 20  # bytes
LONGEST_LINE = 1 << 20
"""Bytes of a line: no sentence is that long, and a file without line ends would fill the memory."""

GREATEST_RATIO, ALWAYS = 1000, 1 << 30
"""What a file may decompress to: so many times its bytes, and so many bytes anyway. Text gives ten
times, rarely a hundred; more is made to fill the memory or the time of whoever reads it."""

Text = str | Path | Member


def decode_lines(name: object, file: Binary) -> Iterator[str]:
    r"""Yield the lines of an open file, ended by `\n` alone, without it.

    Raises `InputError`, with `name` and the line, for bytes that are not UTF-8, for damaged
    compression and for more than `LONGEST_LINE`.
    """
    number = 0
    try:
        for line in iter(partial(file.readline, LONGEST_LINE + 1), b""):
            number += 1
            if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                raise too_long(name, number)
            yield line.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise _not_utf8(name, number, error) from error
    except DAMAGE as error:
        raise damaged(name, error, f" after line {number}") from error


def read_lines(text: Text) -> Iterator[str]:
    """Yield the lines of a text. Raises `InputError` as `decode_lines` does."""
    with _damage_named(text), open_text(text) as file:
        yield from decode_lines(text, file)


@contextmanager
def _damage_named(name: object) -> Iterator[None]:
    """Raise `InputError` with the name of a text that is damaged, if only before its first line."""
    try:
        yield
    except DAMAGE as error:
        raise damaged(name, error) from error


def too_long(name: object, number: int) -> InputError:
    """Return the error that a line is longer than `LONGEST_LINE`."""
    return InputError(
        f"{name}: line {number}: over {LONGEST_LINE} bytes: is it text with a sentence a line?"
    )


def _not_utf8(name: object, number: int, error: UnicodeDecodeError) -> InputError:
    message = f"{name}: line {number}: not UTF-8: {error.reason}"
    return InputError(f"{message}; `iconv -t UTF-8 -f ITS_ENCODING` converts text")


@contextmanager
def open_text(text: Text) -> Iterator[io.BufferedReader]:
    """Open a text for reading; of an archive that holds only one file, that is it.

    Raises `InputError` if it is not there or not text but an archive.
    """
    if isinstance(text, Member):
        with open_member(text) as file:
            if is_archive(file):
                raise InputError(f"{text}: an archive in an archive: unpack it (`source: local`)")
            yield file
        return
    path = Path(text)
    with open_binary(path) as file:
        if not is_archive(file):
            yield file
            return
    with open_text(find_only(path)) as file:
        yield file


def _refuse(name: object, what: str | None) -> None:
    """Raise `InputError` if a file is `what` it should not be."""
    if what:
        raise InputError(f"{name}: {what}")


def is_archive(file: io.BufferedReader) -> bool:
    """Whether an open file, of which nothing has been read, is a .zip or .tar archive."""
    head = file.peek(512)
    return is_zip(head) or is_tar(head)


def check_intact(path: Path, name: object) -> None:
    """Read a compressed file or an archive through.

    Raises `InputError` with `name` if it is missing or damaged.
    """
    if not path.is_file():
        raise InputError(f"{name}: no such file")
    try:
        with open_raw(path) as file:
            head = file.read(512)
        _refuse(name, foreign(head))
        if is_zip(head) or path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                _check_ratio(path, name, sum(info.file_size for info in archive.infolist()))
                member = archive.testzip()
            if member is not None:
                raise InputError(f"{name}: damaged: bad checksum of {member}")
            return
        with open_binary(path) as file:
            size = _read_tar(file, path, name) if is_tar(file.peek(512)) else 0
            while block := file.read(CHUNK):
                size += len(block)
                _check_ratio(path, name, size)
    except DAMAGE as error:
        raise damaged(name, error) from error
    except RuntimeError as error:  # a .zip that is encrypted
        raise InputError(f"{name}: {error}") from error


def _check_ratio(path: Path, name: object, size: int) -> None:
    """Refuse a file that decompresses to `size` or more if that is more than text does."""
    packed = path.stat().st_size
    if size > ALWAYS and size > GREATEST_RATIO * packed:
        raise InputError(
            f"{name}: its {packed} bytes decompress to over {GREATEST_RATIO} times as many: no text"
        )


def _read_tar(file: io.BufferedReader, path: Path, name: object) -> int:
    """Read a .tar archive to its end; return how many bytes that are."""
    size = 0
    with Archive.open(fileobj=file, mode="r|", tarinfo=Header) as archive:
        for header in archive.headers():
            size = header.offset_data + header.size
            _check_ratio(path, name, size)
        padding = 0
        for padding in archive.padding():
            _check_ratio(path, name, size + padding)
    return size + padding


def check_text(text: Text) -> None:
    """Raise `InputError` if somebody's text begins as no plain text does, but XML or a page."""
    with _damage_named(text), open_text(text) as file:
        _refuse(text, no_text(file.peek(512)))


def copy_lines(text: Text, file: Binary) -> int:
    """Append the lines of a text to an open file; return their number.

    Raises what `read_lines` and `check_text` do, but nothing is decoded line by line, and other
    threads may run meanwhile.
    """
    lines, end = 0, b"\n"
    length = 0  # of the line that has begun
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open_text(text) as source:
            _refuse(text, no_text(source.peek(512)))
            while block := source.read(CHUNK):
                decoder.decode(block)
                file.write(block)
                # Only a line that goes on from the last block may be longer than a block.
                first = block.find(b"\n")
                if length + (len(block) if first < 0 else first) > LONGEST_LINE:
                    raise too_long(text, lines + 1)
                length = length + len(block) if first < 0 else len(block) - block.rfind(b"\n") - 1
                lines += block.count(b"\n")
                end = block[-1:]
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line = lines + 1 + error.object[: error.start].count(b"\n")
        raise _not_utf8(text, line, error) from error
    except DAMAGE as error:
        raise damaged(text, error, f" after line {lines}") from error
    if end != b"\n":
        file.write(b"\n")
        lines += 1
    return lines


def read_pairs(source: Text, target: Text) -> Iterator[tuple[str, str]]:
    """Yield the aligned lines of two texts. Raises `InputError` if one ends before the other."""
    pairs = zip_longest(read_lines(source), read_lines(target))
    for number, (source_line, target_line) in enumerate(pairs):
        if source_line is None or target_line is None:
            short, long = (source, target) if source_line is None else (target, source)
            raise InputError(f"{short}: ends after line {number}, {long} goes on")
        yield source_line, target_line


@contextmanager
def write_bytes(path: str | Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Open a file for writing that appears when all is written, compressed if it ends in .gz.

    The same content always gives the same bytes: the gzip header holds neither a time nor a name.
    """
    with whole(Path(path)) as file:
        if Path(path).suffix == ".gz":
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
                yield packed
        else:
            yield file


@contextmanager
def write_lines(path: str | Path) -> Iterator[Callable[[str], object]]:
    """Give a function that writes one line, to a file as `write_bytes` opens it."""
    with write_bytes(path) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        yield lambda line: lines.write(f"{line}\n")
        lines.detach()  # flushed, but not closed
