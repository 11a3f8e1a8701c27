"""Names and URLs of files in which languages are left open."""

import re


def fill(pattern: str | dict[str, str], language: str, source: str, target: str) -> str:
    """Return what is meant for one language.

    `pattern` is a text in which {language}, {source} and {target} stand for that language and the
    pair's, or a mapping from languages.
    """
    if isinstance(pattern, dict):
        return pattern[language]
    for name, value in (("language", language), ("source", source), ("target", target)):
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern


def without_password(text: str) -> str:
    """Return a text whose URLs, if there are any, have lost their user's name and password."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "", text)
