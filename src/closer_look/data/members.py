"""The files in a .zip or .tar archive: which of them are meant by a name, and their content.

Archives are as people pack them: names may begin with `./`, files may be compressed once more, and
what macOS adds (`__MACOSX/`, `._NAME`, `.DS_Store`) is passed over.
"""

import io
import re
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from closer_look.data.compressed import (
    CHUNK,
    DAMAGE,
    OPENERS,
    Binary,
    damaged,
    decompressed,
    foreign,
    is_tar,
    is_zip,
    open_binary,
    open_raw,
)
from closer_look.jobs.job import InputError

LONGEST_HEADER = 1 << 16
"""Bytes of an extended header of a .tar archive, which holds a path; Python reads it whole."""
MOST_MEMBERS = 1_000_000
"""Files in an archive: more are no corpus, and their list would fill the memory."""
LISTED = 8
"""Names that a message lists."""


Opener = Callable[[], Binary | None]


class Member(NamedTuple):
    """A file in an archive, by the name that the archive has for it."""

    archive: Path
    name: str

    def __str__(self) -> str:
        return f"{self.archive}: {self.name}"


class Header(tarfile.TarInfo):
    """A header of a .tar archive that takes no more memory than it has a reason to."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
        """Read a block of 512 bytes.

        Raises `tarfile.ReadError` if what it announces is too long, and if it is damaged or
        missing, which `tarfile` takes for the archive's end.
        """
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not buf:
                raise tarfile.ReadError("it ends without its end mark") from error
            if any(buf):
                raise tarfile.ReadError(f"a damaged header: {error}") from error
            raise  # a block of zeros is the end
        is_extended = header.type not in tarfile.SUPPORTED_TYPES or header.type in (
            *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
            *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
        )
        if is_extended and header.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {header.size} bytes, over {LONGEST_HEADER}")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"{header.name}: a sparse file, which is not supported")
        return header


class Archive(tarfile.TarFile):
    """A .tar archive, with the list of the headers read so far."""

    members: list[tarfile.TarInfo]

    def headers(self) -> Iterator[tarfile.TarInfo]:
        """Read the headers one after the other, without holding those of all."""
        while (header := self.next()) is not None:
            self.members.clear()
            yield header

    def padding(self) -> Iterator[int]:
        """Read what follows the last file; yield the bytes of it read so far.

        Raises `tarfile.ReadError` if they are not all zero: more files, behind an end or damage.
        """
        assert self.fileobj is not None
        size = 0
        while block := self.fileobj.read(CHUNK):
            if block.strip(b"\0"):
                raise tarfile.ReadError("it goes on after its end")
            yield (size := size + len(block))


def find(archive: Path, pattern: str) -> Member:
    """Return the one file of an archive that `pattern` means.

    That is, the first of these of which there are any: the file of that very name; those that it
    fits, where it has a `*`, which stands for anything; those whose path ends so. A file may have
    a suffix of compression besides. Raises `InputError`, which lists what is there, if there is
    none, or several.
    """
    names = list_members(archive)
    found = _matches(names, pattern)
    if not found:
        _refuse_link(archive, pattern)
    if len(found) != 1:
        raise InputError(f"{archive}: {_refusal([pattern], [found], list(found), names)}")
    (name,) = found
    return _member(archive, name, names)


def find_pair(
    archive: Path, patterns: tuple[str, str], languages: tuple[str, str]
) -> tuple[Member, Member]:
    """Return the files of two languages as `find` does, their patterns the same but for these.

    What `*` stands for must be the same on both sides, or differ in the language only: a file of
    which the archive lacks the other side is none of them. Raises `InputError` as `find` does.
    """
    names = list_members(archive)
    sides = [_matches(names, pattern) for pattern in patterns]
    for pattern, side in zip(patterns, sides, strict=True):
        if not side:
            _refuse_link(archive, pattern)
    keys = [
        {name: {star, _without(star, language)} for name, star in side.items()}
        for side, language in zip(sides, languages, strict=True)
    ]
    pairs = [(s, t) for s in keys[0] for t in keys[1] if s != t and keys[0][s] & keys[1][t]]
    if len(pairs) != 1:
        shown = [" with ".join(pair) for pair in pairs]
        raise InputError(f"{archive}: {_refusal(patterns, sides, shown, names)}")
    source, target = (_member(archive, name, names) for name in pairs[0])
    return source, target


def find_only(archive: Path) -> Member:
    """Return the only file of an archive. Raises `InputError`, which lists them, for several."""
    names = list_members(archive)
    if len(names) != 1:
        raise InputError(f"{archive}: an archive of {_listing(names)}; say which in `files`")
    return Member(archive, names[0])


def list_members(archive: Path) -> list[str]:
    """Return the names of the files in an archive; a .tar is read to its end for them.

    Raises `InputError` if it is damaged, or has more than `MOST_MEMBERS`.
    """
    names: list[str] = []
    try:
        with _files(archive) as files:
            for name, _ in files:
                if len(names) == MOST_MEMBERS:
                    raise InputError(f"{archive}: an archive of more than {MOST_MEMBERS} files")
                names.append(name)
    except DAMAGE as error:
        raise damaged(archive, error) from error
    return [name for name in names if not _is_clutter(name)]


@contextmanager
def open_member(member: Member) -> Iterator[io.BufferedReader]:
    """Open a file of an archive for reading, decompressed if it is compressed once more.

    Of a .tar, all that stands before it is read too, whatever is compressed: it is not unpacked.
    Raises `InputError` if the archive does not have it or has encrypted it.
    """
    with _files(member.archive) as files:
        opener = next((opener for name, opener in files if name == member.name), lambda: None)
        try:
            raw = opener()
        except RuntimeError as error:  # it is encrypted
            raise InputError(str(error)) from error
        if raw is None:
            raise InputError(f"{member.archive}: no member {member.name}")
        with raw, decompressed(raw, member.name) as file:
            yield file


@contextmanager
def _files(archive: Path) -> Iterator[Iterator[tuple[str, Opener]]]:
    """Give the name of each file of an archive, one after the other, and how to open it then."""
    with open_raw(archive) as raw:
        head = raw.read(4)
    if is_zip(head):
        with zipfile.ZipFile(archive) as opened:
            yield (
                (info.filename, partial(opened.open, info))
                for info in opened.infolist()
                if not info.is_dir()
            )
        return
    # As a stream: to look a member up, `tarfile` would read the archive to its end first.
    with open_binary(archive) as stream:
        if not is_tar(head := stream.peek(512)):
            neither = "neither a .zip nor a .tar archive; of text itself, give no `files`"
            raise InputError(f"{archive}: {foreign(head) or neither}")
        with Archive.open(fileobj=stream, mode="r|", tarinfo=Header) as opened:
            yield (
                (header.name, partial(opened.extractfile, header))
                for header in _headers(opened)
                if header.isreg()
            )


def _headers(opened: Archive) -> Iterator[tarfile.TarInfo]:
    """Read an archive to its end."""
    yield from opened.headers()
    for _ in opened.padding():
        pass


def _refuse_link(archive: Path, pattern: str) -> None:
    """Raise `InputError` if what is meant by a name is a link in a .tar archive, and no file."""
    with open_binary(archive) as stream:
        if not is_tar(stream.peek(512)):
            return
        with Archive.open(fileobj=stream, mode="r|", tarinfo=Header) as opened:
            headers = (header for header in _headers(opened) if header.issym() or header.islnk())
            links = {header.name: header.linkname for header in headers}
    for name in _matches(list(links), pattern):
        raise InputError(f"{archive}: {name} is a link to {links[name]}: name that in `files`")


def _member(archive: Path, name: str, names: list[str]) -> Member:
    if names.count(name) > 1:
        raise InputError(f"{archive}: {name} is in it {names.count(name)} times")
    return Member(archive, name)


def _is_clutter(name: str) -> bool:
    """Whether it is a file that macOS adds."""
    path = PurePosixPath(_plain(name))
    return "__MACOSX" in path.parts or path.name.startswith("._") or path.name == ".DS_Store"


def _plain(name: str) -> str:
    """Return a name as people write it: without `./` before it, nor Windows' separators.

    Nor with accents apart from their letters, as macOS has them.
    """
    return re.sub(r"^(\.?/)+", "", unicodedata.normalize("NFC", name).replace("\\", "/"))


def _matches(names: list[str], pattern: str) -> dict[str, str]:
    """Return what `find` may choose from, and what `*` stands for in each."""
    parts = [re.escape(part) for part in _plain(pattern).split("*")]
    suffixes = "|".join(map(re.escape, OPENERS))
    glob = rf"{'(.*)'.join(parts)}(?:{suffixes})?"
    literal = re.escape(_plain(pattern))
    for expression in (literal, rf"{literal}(?:{suffixes})?", glob, rf"(?:.*/)?{glob}"):
        found = [(name, re.fullmatch(expression, _plain(name), re.DOTALL)) for name in names]
        if found := [(name, match) for name, match in found if match]:
            return {name: "*".join(match.groups()) for name, match in found}
    return {}


def _without(star: str, language: str) -> str:
    """Return what `*` stands for, with the language's code, where it is a word, left open."""
    return re.sub(rf"(?<![^\W_]){re.escape(language)}(?![^\W_])", "{language}", star)


def _refusal(
    patterns: Sequence[str], sides: Sequence[dict[str, str]], found: list[str], names: list[str]
) -> str:
    """Return why not exactly one file, or pair of them, is meant, and what there is."""
    missing = [pattern for pattern, side in zip(patterns, sides, strict=True) if not side]
    if missing:
        return f"no member {missing[0]}; it has {_listing(names)}"
    asked = " and ".join(patterns)
    if found:
        return f"{asked} may be {_listing(found, ' or ')}: say which in `files`"
    listed = [name for side in sides for name in side]
    return f"of {asked}, no two go together: it has {_listing(listed)}"


def _listing(names: list[str], separator: str = ", ") -> str:
    shown = separator.join(names[:LISTED])
    more = len(names) - LISTED
    return (shown + (f" and {more} more" if more > 0 else "")) or "no files"
