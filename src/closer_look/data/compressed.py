"""Files opened for reading, decompressed if their content is: names are not always to be trusted.

Nothing that is UTF-8 text begins as compressed files do. Where the name says that a file is
compressed, it has to be.
"""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

from backports import zstd

from closer_look.jobs.job import InputError

Binary = IO[bytes] | io.BufferedIOBase
"""An open file of bytes: Python's modules have two types of them."""
Opener = Callable[[io.BufferedReader], io.BufferedIOBase]

CHUNK = 1 << 16
"""Compressed bytes that are read at once."""


class Decompressor(Protocol):
    """Of one stream, as the modules bz2, lzma and zstd have it."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing more without further bytes."""

    @property
    def unused_data(self) -> bytes:
        """What followed the stream's end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return no more than so many bytes of what the stream holds."""


class Streams(io.RawIOBase):
    """The content of a file of one compressed stream or several, one after the other.

    The modules' own files take for padding what is no stream after the first, and pass over it: a
    damaged file would end early, and nobody would know. Here it is the module's error.
    """

    def __init__(self, file: Binary, decompressor: Callable[[], Decompressor]) -> None:
        super().__init__()
        self._file, self._new = file, decompressor
        self._stream = decompressor()

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill some of the buffer. Raises `EOFError` if the file ends within a stream."""
        while True:
            data = b""
            if self._stream.eof:
                if not (data := self._after_stream()):
                    return 0
                self._stream = self._new()
            elif self._stream.needs_input and not (data := self._file.read(CHUNK)):
                raise EOFError("it ends within a compressed stream")
            if found := self._stream.decompress(data, len(buffer)):
                buffer[: len(found)] = found
                return len(found)

    def _after_stream(self) -> bytes:
        """Return how the file goes on, without padding; nothing if it ends."""
        data = self._stream.unused_data.lstrip(b"\0")
        while not data and (read := self._file.read(CHUNK)):
            data = read.lstrip(b"\0")
        return data


def _streams(decompressor: Callable[[], Decompressor]) -> Opener:
    """Return how to open a file of streams."""
    return lambda file: io.BufferedReader(Streams(file, decompressor))


_open_bz2 = _streams(bz2.BZ2Decompressor)
_open_xz = _streams(lzma.LZMADecompressor)
_open_zstd = _streams(zstd.ZstdDecompressor)

OPENERS: dict[str, Opener] = {
    ".gz": gzip.open,
    ".bz2": _open_bz2,
    ".xz": _open_xz,
    ".zst": _open_zstd,
    ".tgz": gzip.open,
}
SIGNATURES: dict[bytes, Opener] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\0": _open_xz,
    b"\x28\xb5\x2f\xfd": _open_zstd,
    **dict.fromkeys((b"BZh%d1AY&SY" % level for level in range(1, 10)), _open_bz2),
}
"""How compressed files begin."""
FOREIGN: dict[bytes, str] = {
    b"7z\xbc\xaf\x27\x1c": "a .7z archive: unpack it",
    b"Rar!\x1a\x07": "a .rar archive: unpack it",
    b"\x1f\x9d": "compressed by `compress` (.Z): unpack it",
    b"\x04\x22\x4d\x18": "compressed by `lz4`: unpack it",
    b"LZIP\x01": "compressed by `lzip`: unpack it",
    b"]\0\0": "compressed by `lzma`: unpack it",
    b"%PDF-": "a PDF: its text is needed, a sentence a line",
    b"{\\rtf": "a document in RTF: its text is needed, a sentence a line",
    b"version https://git-lfs": "the pointer of Git LFS to a file: `git lfs pull` gets that",
}
"""What is neither text nor read here, by how it begins, and what to do."""
PAGES = (b"<!doctype html", b"<html", b"<head")
"""How web pages begin: servers send them instead of files, to log in or to say what is wrong."""
SETS = (b"srcset", b"refset", b"tstset", b"mteval")
MARKUP = (
    *(b"<?xml", b"<tmx", b"<xliff", b"<doc "),
    *(start + name for name in SETS for start in (b"<", b"<!doctype ")),
)
"""How translation memories and the test sets of WMT begin."""
WIDE = {
    **dict.fromkeys((b"\xff\xfe\0\0", b"\0\0\xfe\xff"), "UTF-32"),
    **dict.fromkeys((b"\xff\xfe", b"\xfe\xff"), "UTF-16"),
}
"""The byte-order marks of text that is not UTF-8."""
LAYERS = 2
"""Of compression: a server may have compressed once more what it sends."""

DAMAGE: tuple[type[Exception], ...] = (
    *(EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError),
    *(zipfile.BadZipFile, tarfile.ReadError, NotImplementedError, RecursionError),
)


def damaged(name: object, error: Exception, after: str = "") -> InputError:
    """Return the error that a file is damaged, and what mends it if Snakemake made the file."""
    path = Path(str(name).partition(": ")[0])  # of an archive's member, too
    remedy = ""
    if path.parts[:1] == ("results",):
        made = path.parent if path.parent.name == "download" else path  # which is made as a whole
        remedy = f"; remove {made}, and Snakemake makes it anew"
    return InputError(f"{name}: damaged or truncated{after}: {error}{remedy}")


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


def foreign(head: bytes) -> str | None:
    """Return what a file that begins so is, if it is nothing that can be read, and what to do."""
    for start, what in FOREIGN.items():
        if head.startswith(start):
            return what
    if _text_of(head).startswith(PAGES):
        return "a web page and not a file: look at it in a browser"
    return None


def no_text(head: bytes) -> str | None:
    """Return the same of a file that is no plain text."""
    if encoding := _wide_encoding(head):
        return f"not UTF-8: {encoding} becomes it by `iconv -t UTF-8 -f {encoding}`"
    if _text_of(head).startswith(MARKUP):
        return "XML: its text is needed, a sentence a line"
    if re.match(rb'\s*[{[]\s*"[^"]*"\s*[:,]', head):
        return "JSON: its text is needed, a sentence a line"
    if head.count(b"\r") > 1 and b"\n" not in head:
        return "its lines end in carriage returns alone: `tr '\\r' '\\n'` mends that"
    return foreign(head)


def _wide_encoding(head: bytes) -> str | None:
    """Return the encoding of text of which each character has two or four bytes."""
    for mark, encoding in WIDE.items():
        if head.startswith(mark):
            return encoding
    if 4 * head.count(0) <= len(head):
        return None
    return "UTF-16BE" if head[::2].count(0) > head[1::2].count(0) else "UTF-16LE"


def _text_of(head: bytes) -> bytes:
    """Return the beginning of a text in small letters, without byte-order mark and blanks."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so is a .zip archive, empty ones included."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a .tar archive: its first header has the right checksum."""
    try:
        return bool(tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "replace"))
    except tarfile.HeaderError:
        return False
