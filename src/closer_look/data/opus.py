"""The files that hold one language pair of an OPUS corpus, and their names."""

from pathlib import Path

from closer_look.trees import Tree


def corpus_files(corpus: Tree, source: str, target: str) -> list[str]:
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


def spellings(path: str) -> list[str]:
    """Return the paths that a file of `corpus_files` may have in OPUS: of some pairs, as of
    StanfordNLP-NMT's en-de.txt.zip, the languages are not in order."""
    folder, _, name = path.rpartition("/")
    pair, dot, suffix = name.partition(".")
    if suffix != "txt.zip":
        return [path]
    return [path, f"{folder}/{'-'.join(reversed(pair.split('-')))}{dot}{suffix}"]


def in_mirror(mirror: Path, path: str) -> Path:
    """Return where a file of `corpus_files` is in a tree in OPUS's layout, or should be."""
    places = [mirror / spelling for spelling in spellings(path)]
    return next((place for place in places if place.is_file()), places[0])


def local_name(path: str) -> str:
    """Return the name under which `opus_read` looks for a file of the tree."""
    return path.replace("/", "_")
