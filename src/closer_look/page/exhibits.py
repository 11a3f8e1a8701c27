"""Figures and tables as parts of the page: files embedded, captions as HTML."""

import base64
import csv
import io
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined
from PIL import Image

from ..trees import Tree

DOCUTILS = {"report_level": 4, "file_insertion_enabled": False, "raw_enabled": False}


@dataclass(frozen=True)
class Figure:
    """A picture: `uri` holds the file; `estimator` is None for that of the configuration."""

    name: str
    estimator: str | None
    caption: str
    alt: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Table:
    """A table as text: the header, and whether a column is of numbers; otherwise as `Figure`."""

    name: str
    estimator: str | None
    caption: str
    header: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    uri: str


class Captions:
    """Captions in reStructuredText, by the names of the figures and tables.

    As in Snakemake's own report, they may refer to `snakemake.params`: here the `settings` of the
    figures, among them the estimator.
    """

    def __init__(self, paths: list[Path], settings: Tree) -> None:
        self._paths = {Path(path).stem: Path(path) for path in paths}
        self._settings = settings

    def read(self, name: str, estimator: str | None) -> str:
        """Return a caption as HTML."""
        params = self._settings | ({"estimator": estimator} if estimator else {})
        template = Environment(undefined=StrictUndefined).from_string(
            self._paths[name].read_text(encoding="utf-8")
        )
        text = template.render(snakemake={"params": params})
        body: str = publish_parts(text, writer="html5", settings_overrides=DOCUTILS)["body"]
        return body


def read_figure(path: Path, captions: Captions) -> Figure:
    """Read an image, to embed as lossless WebP: a third of the size of the PNG."""
    name, estimator = name_and_estimator(path)
    caption = captions.read(name, estimator)
    with Image.open(path) as image, io.BytesIO() as file:
        image.save(file, "WEBP", lossless=True)
        uri = data_uri(file.getvalue(), "image/webp")
        return Figure(name, estimator, caption, first_sentence(caption), uri, *image.size)


def read_table(path: Path, captions: Captions) -> Table:
    """Read a CSV file."""
    name, estimator = name_and_estimator(path)
    content = Path(path).read_bytes()
    header, *rows = csv.reader(content.decode().splitlines())
    numeric = [all(map(is_number, column)) for column in zip(*rows, strict=True)]
    rows = [list(map(cell, row)) for row in rows]
    caption = captions.read(name, estimator)
    return Table(name, estimator, caption, header, numeric, rows, data_uri(content, "text/csv"))


def name_and_estimator(path: Path) -> tuple[str, str | None]:
    """Return figure1 and next_batch for figure1.next_batch.png; no estimator for figure1.png."""
    name, _, estimator = Path(path).stem.partition(".")
    return name, estimator or None


def title(name: str) -> str:
    """Return the name of a figure or table for reading: "Figure 1" for figure1."""
    return re.sub(r"(?<=[a-z])(?=\d)", " ", name).replace("_", " ").capitalize()


def is_number(text: str) -> bool:
    """Return whether a cell holds a number, perhaps rounded or a share (5M, 12 %), or nothing."""
    return re.fullmatch(r"[-−+]?\d[\d.,]*(e[-+]?\d+)? ?[kKM%]?|[-–]?", text) is not None


def cell(text: str) -> str:
    """Return a cell as one would print it: a dash for nothing, few digits."""
    try:
        value = float(text)
    except ValueError:
        return "–" if text in ("", "-") else text
    return f"{value:,.0f}" if value.is_integer() else number(value)


def number(value: float) -> str:
    """Return a number for reading, with three digits."""
    return f"{value:.3g}".replace("-", "−").replace("inf", "∞")


def first_sentence(html: str) -> str:
    """Return a caption's first sentence that says something, as text: "Figure 1." does not."""
    text = " ".join(unescape(re.sub("<[^>]+>", "", html)).split())
    sentences = re.split(r"(?<=[.:]) ", text)
    return next((sentence for sentence in sentences if sentence.count(" ") > 2), text)


def data_uri(content: bytes, kind: str) -> str:
    """Return the URI that holds a file of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
