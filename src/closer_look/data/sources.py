"""Where the two sides of a corpus's text are, by its entry in the configuration.

Its `source` is one of:

- "opus": files of OPUS, see `opus`;
- "url": `parts` from anywhere, each an archive at `url` with the two `files` in it, or two files
  whose `url` differs in the language;
- "local": two `files` on this machine.
"""

from pathlib import Path

from closer_look.data.opus import corpus_files, local_name
from closer_look.data.patterns import fill
from closer_look.data.text import Member, Text


def urls(corpus: dict, source: str, target: str) -> dict[str, str]:
    """Return the URL of every file of a corpus with source "url", by its name once downloaded."""
    found = [
        fill(part["url"], language, source, target)
        for part in corpus["parts"]
        for language in (source, target)
    ]
    return {_name(url): url for url in found}


def texts(corpus: dict, source: str, target: str, folder: Path | None) -> list[tuple[Text, Text]]:
    """Return the two sides of every part of a corpus, as `text` reads them.

    `folder` holds what was downloaded. Not for OPUS's documents, which `opus_read` aligns.
    """
    if corpus["source"] == "local":
        return [
            tuple(Path(fill(corpus["files"], side, source, target)) for side in (source, target))
        ]
    if corpus["source"] == "opus":
        (path,) = corpus_files(corpus, source, target)
        archive = folder / local_name(path)
        return [(Member(archive, f"*.{source}"), Member(archive, f"*.{target}"))]
    return [
        tuple(
            _text_of_part(part, language, source, target, folder) for language in (source, target)
        )
        for part in corpus["parts"]
    ]


def _name(url: str) -> str:
    """Return the name of a file once it is downloaded."""
    return local_name(url.partition("://")[2])


def _text_of_part(part: dict, language: str, source: str, target: str, folder: Path) -> Text:
    url = fill(part["url"], language, source, target)
    path = folder / _name(url)
    if "files" not in part:
        return path
    return Member(path, fill(part["files"], language, source, target))
