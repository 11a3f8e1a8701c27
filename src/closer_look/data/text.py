"""Text files, one sentence a line: read and written as streams, compressed or not by their names.

A text may also be a member of a .zip or .tar archive, which is read without unpacking it.
"""

import bz2
import codecs
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, NamedTuple

from backports import zstd

from closer_look.jobs.job import InputError
from lca.files import whole

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": zstd.open}
OPENERS[".tgz"] = gzip.open
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)
DAMAGE += (zipfile.BadZipFile, tarfile.ReadError)
CHUNK = 1 << 20  # bytes


class Member(NamedTuple):
    """The first member of an archive whose name matches a pattern such as `*.de`."""

    archive: Path
    pattern: str

    def __str__(self) -> str:
        return f"{self.archive}: {self.pattern}"


Text = str | Path | Member


def decode_lines(name: object, file: BinaryIO) -> Iterator[str]:
    r"""Yield the lines of an open file, ended by `\n` alone, without it.

    Bytes that are not UTF-8 and damaged compression are an `InputError` with `name` and the line.
    """
    number = 0
    try:
        for line in file:
            number += 1
            yield line.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: line {number}: not UTF-8: {error.reason}") from error
    except DAMAGE as error:
        raise InputError(f"{name}: damaged or truncated after line {number}: {error}") from error


def read_lines(text: Text) -> Iterator[str]:
    """Yield the lines of a text, as `decode_lines` does."""
    try:
        with open_text(text) as file:
            yield from decode_lines(text, file)
    except DAMAGE as error:  # already before the first line
        raise InputError(f"{text}: damaged or truncated: {error}") from error


@contextmanager
def open_text(text: Text) -> Iterator[BinaryIO]:
    """Open a text for reading; an `InputError` if it is not there."""
    if not isinstance(text, Member):
        with open_binary(Path(text)) as file:
            yield file
    elif text.archive.suffix == ".zip":
        with open_binary(text.archive) as stream, zipfile.ZipFile(stream) as archive:
            name = next((n for n in archive.namelist() if fnmatch(n, text.pattern)), None)
            if name is None:
                raise InputError(f"{text.archive}: no member {text.pattern}")
            with io.BufferedReader(archive.open(name)) as file:
                yield file
    else:
        # As a stream: to look a member up, `tarfile` would read the archive to its end first.
        with open_binary(text.archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            member = next((m for m in tar if m.isfile() and fnmatch(m.name, text.pattern)), None)
            if member is None:
                raise InputError(f"{text.archive}: no member {text.pattern}")
            yield tar.extractfile(member)


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed if its name ends in .gz, .bz2, .xz or .zst."""
    try:
        if path.suffix in OPENERS:
            return io.BufferedReader(OPENERS[path.suffix](path))  # splits lines in C
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror.lower()}") from error


def check_intact(path: Path, name: object) -> None:
    """Read a compressed file through; an `InputError` with `name` if it is missing or damaged."""
    if not path.is_file():
        raise InputError(f"{name}: no such file")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                member = archive.testzip()
            if member is not None:
                raise InputError(f"{name}: damaged: bad checksum of {member}")
        elif path.suffix in OPENERS:
            with open_binary(path) as file:
                while file.read(CHUNK):
                    pass
    except DAMAGE as error:
        raise InputError(f"{name}: damaged or truncated: {error}") from error


def copy_lines(text: Text, file: BinaryIO) -> int:
    """Append the lines of a text to an open file; return their number.

    Errors are those of `read_lines`, but nothing is decoded line by line, and other threads may
    run meanwhile.
    """
    lines, end = 0, b"\n"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open_text(text) as source:
            while block := source.read(CHUNK):
                decoder.decode(block)
                file.write(block)
                lines += block.count(b"\n")
                end = block[-1:]
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line = lines + 1 + error.object[: error.start].count(b"\n")
        raise InputError(f"{text}: line {line}: not UTF-8: {error.reason}") from error
    except DAMAGE as error:
        raise InputError(f"{text}: damaged or truncated after line {lines}: {error}") from error
    if end != b"\n":
        file.write(b"\n")
        lines += 1
    return lines


def read_pairs(source: Text, target: Text) -> Iterator[tuple[str, str]]:
    """Yield the aligned lines of two texts; an `InputError` where one ends before the other."""
    pairs = zip_longest(read_lines(source), read_lines(target))
    for number, (source_line, target_line) in enumerate(pairs):
        if source_line is None or target_line is None:
            short, long = (source, target) if source_line is None else (target, source)
            raise InputError(f"{short}: ends after line {number}, {long} goes on")
        yield source_line, target_line


@contextmanager
def write_bytes(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears when all is written, compressed if it ends in .gz.

    The same content always gives the same bytes: the gzip header holds neither a time nor a name.
    """
    with whole(path) as file:
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
