"""Files opened for reading, decompressed if their content is: names are not always to be trusted.

Nothing that is UTF-8 text begins as compressed files do. Where the name says that a file is
compressed, it has to be.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from backports import zstd

from closer_look.jobs.job import InputError

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": zstd.open}
OPENERS[".tgz"] = gzip.open
SIGNATURES = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
    **dict.fromkeys((b"BZh%d1AY&SY" % level for level in range(1, 10)), bz2.open),
}
"""How compressed files begin."""
LAYERS = 2
"""Of compression: a server may have compressed once more what it sends."""

DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)
DAMAGE += (zipfile.BadZipFile, tarfile.ReadError, NotImplementedError, RecursionError)


@contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading, decompressed if need be.

    An `InputError` if it is not there; one of `DAMAGE` if its name wrongly says that it is
    compressed.
    """
    with open_raw(path) as raw, decompressed(raw, path.name) as file:
        yield file


def open_raw(path: Path) -> BinaryIO:
    """Open a file for reading as it is; an `InputError` if it is not there."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror.lower()}") from error


@contextmanager
def decompressed(file: BinaryIO, name: str) -> Iterator[io.BufferedReader]:
    """Give what an open file holds; `name` is its own, or the URL's that it came from."""
    named = OPENERS.get(Path(name.partition("?")[0]).suffix)
    with ExitStack() as layers:
        file = _buffered(file)
        for _ in range(LAYERS):
            opener = _opener(file.peek()) or named
            if opener is None:
                break
            if not file.peek():
                raise EOFError("it is empty")
            file = _buffered(layers.enter_context(opener(file)))
            named = None
        yield file


def _buffered(file: BinaryIO) -> io.BufferedReader:
    """Return a file whose lines are split in C, and whose beginning can be looked at."""
    return file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)


def _opener(head: bytes) -> Callable | None:
    """Return how to open a file that begins so, None if it is not compressed."""
    return next((SIGNATURES[start] for start in SIGNATURES if head.startswith(start)), None)


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so is a .zip archive, empty ones included."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a .tar archive; those from before 1988 are not noticed."""
    return head[257:262] == b"ustar"
