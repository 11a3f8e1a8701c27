"""Where the two sides of a corpus's text are, by its entry in the configuration.

Its `source` is one of:

- "opus": files of OPUS, see `opus`;
- "url": `parts` from anywhere, each an archive at `url` with the two `files` in it, or two files
  whose `url` differs in the language;
- "local": two `files` on this machine.
"""

import hashlib
from collections import Counter
from pathlib import Path

from closer_look.data.members import find, find_pair
from closer_look.data.opus import corpus_files, local_name
from closer_look.data.patterns import fill, without_password
from closer_look.data.text import Text
from closer_look.jobs.job import InputError
from closer_look.trees import Tree

LONGEST_NAME = 200
"""Bytes of a file's name: file systems allow 255, and something is put before it meanwhile."""


def urls(corpus: Tree, source: str, target: str) -> dict[str, str]:
    """Return the URL of every file of a corpus with source "url", by its name once downloaded."""
    found = {
        fill(part["url"], language, source, target): None
        for part in corpus["parts"]
        for language in (source, target)
    }
    names = Counter(map(_name, found))
    return {_name(url, is_unique=names[_name(url)] == 1): url for url in found}


def texts(corpus: Tree, source: str, target: str, folder: Path | None) -> list[tuple[Text, Text]]:
    """Return the two sides of every part of a corpus, as `text` reads them.

    `folder` holds what was downloaded. Not for OPUS's documents, which `opus_read` aligns. Raises
    `InputError` for names that an archive does not have, or of which it is not clear which is
    meant.
    """
    pair = (source, target)
    if corpus["source"] == "local":
        return [local_files(corpus, source, target)]
    assert folder is not None  # it was downloaded
    if corpus["source"] == "opus":
        (path,) = corpus_files(corpus, *pair)
        return [find_pair(folder / local_name(path), (f"*.{source}", f"*.{target}"), pair)]
    names = {url: name for name, url in urls(corpus, *pair).items()}
    return [_texts_of_part(part, pair, folder, names) for part in corpus["parts"]]


def local_files(corpus: Tree, source: str, target: str) -> tuple[Path, Path]:
    """Return the two files of a corpus with source "local"."""
    pair = (source, target)
    first, second = (Path(fill(corpus["files"], language, *pair)) for language in pair)
    return first, second


def _name(url: str, is_unique: bool = True) -> str:
    """Return the name of a file once it is downloaded: `a/b` and `a_b` are not to be one."""
    name = local_name(without_password(url).partition("://")[2])
    if is_unique and len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    return f"{digest}_{name.encode()[13 - LONGEST_NAME :].decode(errors='ignore')}"


def _texts_of_part(
    part: Tree, pair: tuple[str, str], folder: Path, names: dict[str, str]
) -> tuple[Text, Text]:
    """Return the two sides of a part whose files have these names by their URLs."""
    first, second = (folder / names[fill(part["url"], language, *pair)] for language in pair)
    if "files" not in part:
        return first, second
    wanted = fill(part["files"], pair[0], *pair), fill(part["files"], pair[1], *pair)
    if first == second and isinstance(part["files"], str):
        return find_pair(first, wanted, pair)
    sides = find(first, wanted[0]), find(second, wanted[1])
    if sides[0] == sides[1]:
        raise InputError(f"{sides[0]}: is the same for both languages")
    return sides
