"""Sentences as a model gets them: what SentencePiece makes of a line, and how long that is."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import regex
import sentencepiece

NORMALIZATION = "nmt_nfkc"
"""SentencePiece's rule: compatibility characters, zero-width and odd blanks, control characters."""

UNSPACED = (
    *("Han", "Hiragana", "Katakana", "Bopomofo", "Yi", "Nushu", "Tangut", "Khitan_Small_Script"),
    *("Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Tai_Le", "New_Tai_Lue", "Tai_Tham"),
    *("Tai_Viet", "Ahom", "Javanese", "Balinese", "Buginese"),
)
"""Scripts whose words no blanks separate, by their Unicode names."""

_SCRIPTS = "".join(rf"\p{{Script={name}}}" for name in UNSPACED)
_MAY_BE_UNSPACED = re.compile("[\u0e00-\u1fff\u2e80-\U0010ffff]")
"""None of the scripts has a character elsewhere: tells most lines without one fast."""
_CHARACTERS = regex.compile(rf"(?V1)[[{_SCRIPTS}]--[\p{{M}}\p{{P}}]]")
_WORDS = regex.compile(rf"(?V1)[^\s\u1361{_SCRIPTS}]+")
"""Between blanks, or the wordspace of Ethiopic."""
_VISIBLE = regex.compile(r"[^\s\p{C}\p{Default_Ignorable_Code_Point}\u2800]")
"""What is seen: no blanks, control characters or fillers, nor the blank of Braille."""
_LETTERS = regex.compile(r"[^\s\p{M}]")


@cache
def _normalizer() -> sentencepiece.SentencePieceNormalizer:
    return sentencepiece.SentencePieceNormalizer(
        rule_name=NORMALIZATION, add_dummy_prefix=False, escape_whitespaces=False
    )


def normalised(lines: Sequence[str]) -> list[str]:
    """Return lines as SentencePiece sees them, with single blanks between their words.

    Lines that it takes for equal are equal then. Those without a visible character are empty.
    """
    found = list(lines)
    changing = [index for index, line in enumerate(found) if not _is_stable(line)]
    changed = _normalizer().normalize([found[index] for index in changing])
    for index, line in zip(changing, changed, strict=True):
        found[index] = line if _VISIBLE.search(line) else ""
    return found


def _is_stable(line: str) -> bool:
    """Whether a line is seen and SentencePiece leaves it as it is, told in a tenth of its time."""
    return (
        line.isprintable()
        and (line.isascii() or _VISIBLE.search(line) is not None)
        and unicodedata.is_normalized("NFKC", line)
        and "  " not in line
        and "\u2581" not in line
        and "\ufffd" not in line
        and line.strip() == line
    )


def measure(line: str) -> tuple[int, int]:
    """Return the length of a normalised line in the units that its script has: in words, and in
    characters of `UNSPACED` scripts.

    The text itself tells which: each character of these scripts counts, combining marks and
    punctuation apart, and as a word each run of other characters between blanks or such ones.
    """
    if not line.isascii() and _MAY_BE_UNSPACED.search(line):
        return len(_WORDS.findall(line)), len(_CHARACTERS.findall(line))
    return (line.count(" ") + 1 if line else 0), 0


def count_letters(line: str) -> int:
    """Return the characters of a line, blanks and combining marks apart."""
    return len(_LETTERS.findall(line))
