"""A small corpus in the three formats of OPUS, written as a tree that mirrors OPUS'."""

import gzip
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

NAME, VERSION = "Toy", "v1"
ROOT = f"{NAME}/{VERSION}"
FORMATS = ("moses", "raw", "xml")
GERMAN = ["Guten Tag !", "Schöne Grüße & Küsse .", "Eins . Zwei .", "", "Ende 終わり ."]
ENGLISH = ["Good day !", "Love & kisses .", "One . Two .", "No German .", "The end ."]
TEXT = {"de": GERMAN, "en": ENGLISH}


def corpus(form: str) -> dict[str, str]:
    """Return the corpus as a config names it."""
    return {"source": "opus", "name": NAME, "version": VERSION, "format": form}


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    """Write a zip archive; the folders of `path` are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_moses(mirror: Path, text: dict[str, bytes]) -> None:
    """Write the aligned text of the two languages."""
    members = {f"{NAME}.de-en.{language}": content for language, content in text.items()}
    write_zip(mirror / ROOT / "moses" / "de-en.txt.zip", {"README": b"A toy.", **members})


def document(lines: list[str], form: str) -> bytes:
    """Return one document of format "raw" or "xml": a sentence for each line, empty or not."""
    sentences = []
    for number, line in enumerate(lines, start=1):
        words = line.replace("&", "&amp;").split()
        if form == "xml":
            words = [f'<w id="{number}.{i}">{word}</w>' for i, word in enumerate(words, start=1)]
            sentences += [f'<s id="{number}">', *words, "</s>"]
        else:
            sentences.append(f'<s id="{number}">{" ".join(words)}</s>')
    return "\n".join(
        ['<?xml version="1.0" encoding="utf-8"?>', "<text>", *sentences, "</text>"]
    ).encode()


def write_documents(mirror: Path, form: str, documents: dict[str, bytes]) -> None:
    """Write a document of each language, and the alignment of their sentences one to one."""
    for language, content in documents.items():
        member = f"{NAME}/{form}/{language}/a.xml"
        write_zip(mirror / ROOT / form / f"{language}.zip", {member: content})
    links = "".join(
        f'<link id="SL{i}" xtargets="{i if german else ""};{i}" />\n'
        for i, german in enumerate(GERMAN, start=1)
    )
    alignment = (
        '<?xml version="1.0" encoding="utf-8"?>\n<cesAlign version="1.0">\n'
        f'<linkGrp targType="s" fromDoc="de/a.xml.gz" toDoc="en/a.xml.gz">\n{links}</linkGrp>\n'
        "</cesAlign>\n"
    )
    path = mirror / ROOT / "xml" / "de-en.xml.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(alignment.encode()))


def write_tree(mirror: Path, form: str) -> Path:
    """Write the corpus in one format; return the mirror's root."""
    if form == "moses":
        lines = {language: "".join(f"{line}\n" for line in TEXT[language]) for language in TEXT}
        write_moses(mirror, {language: text.encode() for language, text in lines.items()})
    else:
        documents = {language: document(lines, form) for language, lines in TEXT.items()}
        write_documents(mirror, form, documents)
    return mirror


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database; what was changed is kept, and the file closed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def write_database(path: Path, url: str, size: int = 1, pairs: int = len(GERMAN)) -> Path:
    """Write a list of the corpus's files, in all formats, as OpusTools has one; return its path.

    They are at `url`CORPUS/VERSION/..., of `size` kilobytes each.
    """
    alignments = [("moses", "moses/de-en.txt.zip"), ("xml", "xml/de-en.xml.gz")]
    rows = [("de", "en", form, path, pairs) for form, path in alignments]
    for form in ("raw", "xml"):
        rows += [(side, "", form, f"{form}/{side}.zip", len(TEXT[side])) for side in TEXT]
    with connect(path) as connection:
        connection.execute(
            "CREATE TABLE opusfile (id integer PRIMARY KEY, source text, target text, corpus text,"
            " preprocessing text, version text, url text, size integer, documents integer,"
            " alignment_pairs integer, source_tokens integer, target_tokens integer, latest text,"
            " updated integer)"
        )
        connection.executemany(
            "INSERT INTO opusfile (source, target, corpus, preprocessing, version, url, size,"
            f" alignment_pairs, latest) VALUES (?, ?, '{NAME}', ?, '{VERSION}',"
            f" '{url}{ROOT}/' || ?, {size}, ?, 'True')",
            rows,
        )
    return path


def truncate(path: Path) -> None:
    """Cut off the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
