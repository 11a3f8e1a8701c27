"""The files that hold one language pair of an OPUS corpus, and their names."""


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
    """Return the name under which `opus_read` looks for a file of the tree."""
    return path.replace("/", "_")
