"""Writing a table for people, for programs and for papers."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)
"""What means something to LaTeX, as text; pandas escapes cells, but no captions."""


def write(
    table: pd.DataFrame, caption: str, csv: Path, md: Path, tex: Path, unprinted: Sequence[str] = ()
) -> None:
    """Write a table as CSV with all digits, and as Markdown and LaTeX as one would print it.

    The columns `unprinted` are in the CSV only.
    """
    table.to_csv(csv, index=False)
    shown = table.drop(columns=list(unprinted)).map(_cell)
    markdown = shown.to_markdown(index=False, disable_numparse=True)
    Path(md).write_text(f"{caption}\n\n{markdown}\n", encoding="utf-8")
    shown.to_latex(tex, index=False, escape=True, caption=caption.translate(LATEX))


def _cell(value: str | float | None) -> str:
    """Return a value as it is printed: missing ones as a dash, numbers with few digits."""
    if pd.isna(value):
        return "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return str(value) if isinstance(value, str) else f"{value:,.0f}"
