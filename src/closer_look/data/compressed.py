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
from typing import IO, cast

from backports import zstd

from closer_look.jobs.job import InputError

Binary = IO[bytes] | io.BufferedIOBase
"""An open file of bytes: Python's modules have two types of them."""
Opener = Callable[[io.BufferedReader], io.BufferedIOBase]

OPENERS: dict[str, Opener] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": zstd.open,
    ".tgz": gzip.open,
}
SIGNATURES: dict[bytes, Opener] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
    **dict.fromkeys((b"BZh%d1AY&SY" % level for level in range(1, 10)), bz2.open),
}
"""How compressed files begin."""
LAYERS = 2
"""Of compression: a server may have compressed once more what it sends."""

DAMAGE: tuple[type[Exception], ...] = (
    *(EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError),
    *(zipfile.BadZipFile, tarfile.ReadError, NotImplementedError, RecursionError),
)


@contextmanager
def open_binary(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading, decompressed if need be.

    Raises `InputError` if it is not there; one of `DAMAGE` if its name wrongly says that it is
    compressed.
    """
    with open_raw(path) as raw, decompressed(raw, path.name) as file:
        yield file


def open_raw(path: Path) -> io.BufferedReader:
    """Open a file for reading as it is. Raises `InputError` if it is not there."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}") from error


@contextmanager
def decompressed(file: Binary, name: str) -> Iterator[io.BufferedReader]:
    """Give what an open file holds; `name` is its own, or the URL's that it came from.

    Raises `EOFError` if it is empty, although its name says that it is compressed.
    """
    named = OPENERS.get(Path(name.partition("?")[0]).suffix)
    with ExitStack() as layers:
        buffered = _buffered(file)
        for _ in range(LAYERS):
            opener = _opener(buffered.peek()) or named
            if opener is None:
                break
            if not buffered.peek():
                raise EOFError("it is empty")
            buffered = _buffered(layers.enter_context(opener(buffered)))
            named = None
        yield buffered


def _buffered(file: Binary) -> io.BufferedReader:
    """Return a file whose lines are split in C, and whose beginning can be looked at."""
    if isinstance(file, io.BufferedReader):
        return file
    return io.BufferedReader(cast(io.RawIOBase, file))  # all have `readinto`, `IO` doesn't say so


def _opener(head: bytes) -> Opener | None:
    """Return how to open a file that begins so, None if it is not compressed."""
    return next((SIGNATURES[start] for start in SIGNATURES if head.startswith(start)), None)


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so is a .zip archive, empty ones included."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a .tar archive; those from before 1988 are not noticed."""
    return head[257:262] == b"ustar"
