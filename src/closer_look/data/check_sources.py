"""Check before anything is fetched that each source has what is asked of it, and the disk room."""

import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from opustools.db_operations import DbOperations

from closer_look.data.compressed import OPENERS
from closer_look.data.fetch import remote_size
from closer_look.data.opus import corpus_files, in_mirror
from closer_look.data.opus_database import find, open_database
from closer_look.data.sources import local_files, urls
from closer_look.data.text import check_text, read_pairs
from closer_look.jobs.job import InputError
from closer_look.trees import Tree

GROWTH = {"moses": 8, "raw": 8, "xml": 3}
"""Bytes in results/ for each byte of an OPUS format: the files themselves and all made of them, by
Europarl's sizes."""
COMPRESSED, PLAIN = 8, 2
"""The same for other compressed text and for plain text."""


class Need(NamedTuple):
    """A language pair whose text is to be fetched; `name` is its corpus's in the configuration."""

    name: str
    corpus: Tree
    source: str
    target: str


class Extent(NamedTuple):
    """What a pair takes in results/, in bytes, and its number of sentence pairs, if known."""

    room: int
    pairs: int | None


def check(
    needs: Iterable[Need], mirror: str | None, database: str | Path | None, results: Path
) -> None:
    """Raise `InputError` for the first need that its source cannot meet, or for too little room.

    Looks OPUS's files up in OpusTools' `database` (or in a `mirror`), asks servers for other files'
    sizes, and reads local text through.
    """
    needs = list(needs)
    asks_opus = mirror is None and any(need.corpus["source"] == "opus" for need in needs)
    room = 0
    with open_database(database) if asks_opus else nullcontext() as opened:
        for need in needs:
            try:
                extent = _measure(need, mirror, opened)
            except InputError as error:
                raise InputError(f"corpora.{need.name}: {error}") from error
            _check_held_out(need, extent.pairs)
            room += extent.room
    free = shutil.disk_usage(results).free
    if room > free:
        raise InputError(
            f"{results}: {free / 1e9:.1f} GB are free, but what is to be fetched and made of it "
            f"takes about {room / 1e9:.1f} GB"
        )


def _measure(need: Need, mirror: str | None, database: DbOperations | None) -> Extent:
    """Return a need's extent. Raises `InputError` if its source does not have it."""
    corpus, pair = need.corpus, (need.source, need.target)
    match corpus["source"]:
        case "local":
            sides = local_files(corpus, *pair)
            for side in sides:
                check_text(side)
            number = sum(1 for _ in read_pairs(*sides))
            growth = (COMPRESSED if side.suffix in OPENERS else PLAIN for side in sides)
            sizes = (side.stat().st_size for side in sides)
            return Extent(sum(g * size for g, size in zip(growth, sizes, strict=True)), number)
        case "url":
            known = map(remote_size, urls(corpus, *pair).values())
            return Extent(COMPRESSED * sum(size or 0 for size in known), None)
    if mirror is None:
        files = find(database, corpus, *pair).values()
        pairs = next((file.pairs for file in files if file.pairs), None)
        return Extent(GROWTH[corpus["format"]] * sum(file.bytes for file in files), pairs)
    paths = [in_mirror(Path(mirror), path) for path in corpus_files(corpus, *pair)]
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(f"{missing[0]}: no such file")
    return Extent(GROWTH[corpus["format"]] * sum(path.stat().st_size for path in paths), None)


def _check_held_out(need: Need, pairs: int | None) -> None:
    """Refuse held-out sets that leave nothing of the corpus to train on."""
    valid, test = need.corpus["valid"], need.corpus["test"]
    if pairs is not None and valid + test >= pairs:
        raise InputError(
            f"corpora.{need.name}: `valid` ({valid}) and `test` ({test}) take all of the {pairs} "
            f"pairs of {need.source}-{need.target}"
        )
