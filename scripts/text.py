"""Text files, one sentence a line: read and written as streams, plain or gzip by their names."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

from job import InputError

DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


def decode_lines(name: str | Path, file: BinaryIO) -> Iterator[str]:
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


def read_lines(path: str | Path) -> Iterator[str]:
    """Yield the lines of a file, as `decode_lines` does."""
    with open_binary(Path(path)) as file:
        yield from decode_lines(path, file)


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed if its name ends in .gz."""
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path))  # splits lines in C, GzipFile in Python
    return path.open("rb")


def read_pairs(source: str | Path, target: str | Path) -> Iterator[tuple[str, str]]:
    """Yield the aligned lines of two files; an `InputError` where one ends before the other."""
    pairs = zip_longest(read_lines(source), read_lines(target))
    for number, (source_line, target_line) in enumerate(pairs):
        if source_line is None or target_line is None:
            short, long = (source, target) if source_line is None else (target, source)
            raise InputError(f"{short}: ends after line {number}, {long} goes on")
        yield source_line, target_line


@contextmanager
def write_lines(path: str | Path) -> Iterator[Callable[[str], object]]:
    """Give a function that writes one line; the file appears when all of them are written.

    The same lines always give the same bytes: the gzip header holds neither a time nor a name.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.part")
    try:
        with open(temporary, "wb") as file:
            if path.suffix == ".gz":
                file = gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0)
            with io.TextIOWrapper(file, encoding="utf-8", newline="\n") as lines:
                yield lambda line: lines.write(f"{line}\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
