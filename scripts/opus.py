"""The files that hold one language pair of an OPUS corpus, and their names."""

import gzip
import zipfile
from pathlib import Path

from job import InputError
from text import DAMAGE


def corpus_files(corpus: dict, source: str, target: str) -> list[str]:
    """Return the paths in an OPUS tree of what `opus_read` needs, e.g. Europarl/v8/raw/en.zip.

    `corpus` has the keys `name`, `version` and `format`: "moses" (untokenised, aligned),
    "raw" (untokenised, by document) or "xml" (tokenised, by document).
    """
    root = f"{corpus['name']}/{corpus['version']}"
    languages = sorted([source, target])
    pair = "-".join(languages)
    if corpus["format"] == "moses":
        return [f"{root}/moses/{pair}.txt.zip"]
    documents = [f"{root}/{corpus['format']}/{language}.zip" for language in languages]
    return [f"{root}/xml/{pair}.xml.gz", *documents]


def local_name(path: str) -> str:
    """Return the name under which `opus_get` saves and `opus_read` looks for a file of the tree."""
    return path.replace("/", "_")


def check_archive(path: Path, name: str | Path) -> None:
    """Read a .zip or .gz file through; an `InputError` with `name` if it is missing or damaged."""
    if not path.is_file():
        raise InputError(f"{name}: no such file")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                member = archive.testzip()
            if member is not None:
                raise InputError(f"{name}: damaged: bad checksum of {member}")
        else:
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
    except DAMAGE as error:
        raise InputError(f"{name}: damaged or truncated: {error}") from error
