"""What OPUS has: where and how large, by the database that comes with OpusTools."""

import difflib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from opustools import OpusGet
from opustools.db_operations import DbOperations

from closer_look.data.opus import corpus_files, spellings
from closer_look.jobs.job import InputError
from closer_look.trees import Tree

KILOBYTE = 1024  # the database's unit of size
FORMATS = ("moses", "raw", "xml")


class OpusFile(NamedTuple):
    """A file of OPUS: where it is, its size, and the sentence pairs it aligns (None: unknown)."""

    url: str
    bytes: int
    pairs: int | None


@contextmanager
def open_database(path: str | Path | None) -> Iterator[DbOperations]:
    """Give access to a database of OpusTools, by default the one that comes with it.

    Raises `InputError` if there is none.
    """
    if path is not None and not Path(path).is_file():
        raise InputError(f"{path}: no such OpusTools database")
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder, "opus.db")
            OpusGet(local_db=True, database=str(path), download_dir=folder)  # unpacks it there
        yield DbOperations(db_file=str(path))


def find(database: DbOperations, corpus: Tree, source: str, target: str) -> dict[str, OpusFile]:
    """Return the files of a language pair of a corpus by their paths in an OPUS tree.

    Raises `InputError`, which names what there is instead, if OPUS does not have them.
    """
    found = _listed(database, corpus, source, target)
    if found is None:
        raise InputError(_what_is_there(database, corpus, source, target))
    return found


def _listed(
    database: DbOperations, corpus: Tree, source: str, target: str
) -> dict[str, OpusFile] | None:
    """Return what `find` does, or None if any of the files is not in the database."""
    first, second = sorted([source, target])
    wanted = {
        "corpus": corpus["name"],
        "version": corpus["version"],
        "preprocessing": corpus["format"],
    }
    rows = database.get_corpora(wanted | {"source": first, "target": second})
    if corpus["format"] == "moses":
        rows += _rows(database, wanted | {"source": second, "target": first})
    by_path = {row["url"].partition("/OPUS-")[2]: row for row in rows}
    found: dict[str, OpusFile] = {}
    for path in corpus_files(corpus, source, target):
        row = next((by_path[name] for name in spellings(path) if name in by_path), None)
        if row is None:
            return None
        pairs = row["alignment_pairs"] if row["target"] else None
        found[path] = OpusFile(row["url"], (row["size"] or 0) * KILOBYTE, pairs or None)
    return found


def _rows(database: DbOperations, wanted: dict[str, str]) -> list[Tree]:
    """Return the rows of files with these values; `get_corpora` sorts the languages first."""
    conditions = " AND ".join(f"{column} = '{value}'" for column, value in wanted.items())
    columns, rows = database.run_query(f"SELECT * FROM opusfile WHERE {conditions}")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _what_is_there(database: DbOperations, corpus: Tree, source: str, target: str) -> str:
    """Return in one line what is missing of a pair, and what OPUS has instead."""
    name, version = corpus["name"], corpus["version"]
    names = database.run_corpora_query({})
    if name not in names:
        by_lower = {known.lower(): known for known in sorted(names)}
        near = difflib.get_close_matches(name.lower(), by_lower, 3)
        hint = f"; the nearest are {', '.join(by_lower[n] for n in near)}" if near else ""
        return f"OPUS has no corpus {name!r}{hint}"

    def values(column: str, condition: str) -> list[str]:
        query = f"SELECT DISTINCT {column} FROM opusfile WHERE corpus = '{name}' {condition}"
        return sorted(row[0] for row in database.run_query(query)[1])

    versions = values("version", "")
    if version not in versions:
        return f"OPUS has no version {version!r} of {name}; it has {', '.join(versions)}"
    pair = "-".join(sorted([source, target]))
    formats = [f for f in FORMATS if _listed(database, corpus | {"format": f}, source, target)]
    if formats:
        return f"OPUS has {name} {version} {pair} as {', '.join(formats)}, not {corpus['format']}"
    for language in (source, target):
        conditions = [
            (other, f"AND version = '{version}' AND {one} = '{language}'")
            for one, other in (("source", "target"), ("target", "source"))
        ]
        partners = {other for condition in conditions for other in values(*condition)} - {""}
        if partners:
            listing = ", ".join(sorted(partners))
            return f"OPUS has no {pair} in {name} {version}; it has {language} with {listing}"
    return f"OPUS has no {pair} in {name} {version}, nor either language"
