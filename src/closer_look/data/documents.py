"""Check OPUS's documents and their alignment before `opus_read` gets them.

It takes what is cut for what is short: an alignment that ends early gives fewer pairs, a document
that ends early, or is empty, gives pairs with an empty side.
"""

import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from xml.parsers import expat

from closer_look.data.compressed import DAMAGE, Binary, damaged, open_binary
from closer_look.data.opus import corpus_files, local_name
from closer_look.data.text import LONGEST_LINE, too_long
from closer_look.jobs.job import InputError, tell
from closer_look.trees import Tree


class Alignment:
    """Goes through an alignment; after each pair of documents, looks into these."""

    def __init__(self, archives: list[zipfile.ZipFile], root: str) -> None:
        self.archives, self.root = archives, root
        self.documents = "", ""
        self.wanted: tuple[set[str], set[str]] = set(), set()
        self.asked = self.missing = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Note the documents of a group, or the sentences of a link."""
        if tag == "linkGrp":
            self.documents = attributes.get("fromDoc", ""), attributes.get("toDoc", "")
            self.wanted = set(), set()
        elif tag == "link":
            sides = attributes.get("xtargets", ";").split(";")
            for sentences, side in zip(self.wanted, sides, strict=False):
                sentences.update(side.split())

    def end(self, tag: str) -> None:
        """Count the sentences that a group's documents lack. Raises `InputError` if it is all."""
        if tag != "linkGrp":
            return
        for archive, document, wanted in zip(
            self.archives, self.documents, self.wanted, strict=True
        ):
            member = f"{self.root}/{document.removesuffix('.gz')}"
            name = f"{archive.filename}: {member}"
            try:
                file = archive.open(member)
            except KeyError:  # `opus_read` says so itself
                continue
            with file:
                found = _sentences(name, file)
            if wanted and found.isdisjoint(wanted):
                raise InputError(f"{name}: has none of the {len(wanted)} sentences it is to have")
            self.asked += len(wanted)
            self.missing += len(wanted - found)


def check_documents(folder: Path, corpus: Tree, source: str, target: str) -> None:
    """Raise `InputError` if the alignment or a document in it is incomplete.

    That is XML that is not well-formed, or a document without any of the sentences asked of it.
    """
    path, *archives = (folder / local_name(p) for p in corpus_files(corpus, source, target))
    with ExitStack() as stack:
        opened = [stack.enter_context(zipfile.ZipFile(archive)) for archive in archives]
        alignment = Alignment(opened, f"{corpus['name']}/{corpus['format']}")
        with open_binary(path) as file:
            _parse(path, file, alignment.start, alignment.end)
    if alignment.missing:
        asked = f"{alignment.missing} of {alignment.asked} sentences"
        tell(f"{path}: {asked} are not in their documents and will be empty")


def _sentences(name: str, file: Binary) -> set[str]:
    """Return the numbers of a document's sentences."""
    found = set()

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "s":
            found.add(attributes.get("id", ""))

    _parse(name, file, start, None)
    return found


def _parse(
    name: object,
    file: Binary,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None,
) -> None:
    """Call `start` and `end` with each element. Raises `InputError` for what is not whole XML."""
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    number = 0
    try:
        for line in iter(partial(file.readline, LONGEST_LINE + 1), b""):
            number += 1
            if len(line) > LONGEST_LINE:
                raise too_long(name, number)
            parser.Parse(line)
        parser.Parse(b"", True)
    except DAMAGE + (expat.ExpatError,) as error:
        raise damaged(name, error) from error
