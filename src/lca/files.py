"""Files that are there as a whole or not at all, and checksums that tell whether they still are.

A checksum lies beside its file, as `sha256sum --check` reads it.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class LcaError(Exception):
    """What is wrong with what was given, rather than with the code: one line that names it."""


class LogError(LcaError):
    """A log that does not hold what it should; the message says what is missing, in one line."""


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under `path` as a whole or not at all, synced to the disk.

    Its folder is made if it is not there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksum(path: Path) -> None:
    """Write a file's checksum beside it."""
    with whole(_checksum(path)) as file:
        file.write(f"{sha256(path)}  {path.name}\n".encode())


def is_intact(path: Path) -> bool | None:
    """Return whether a file is what its checksum was written of, None if it has no checksum."""
    try:
        return _checksum(path).read_bytes().split()[:1] == [sha256(path).encode()]
    except FileNotFoundError:
        return None


def remove(path: Path) -> None:
    """Remove a file, should it be there, and its checksum."""
    _checksum(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
