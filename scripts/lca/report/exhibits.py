"""Figures and tables as parts of the page: files embedded, captions as HTML."""

import base64
import io
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pandas as pd
from docutils.core import publish_parts
from PIL import Image

from .. import ESTIMATORS

DOCUTILS = {"report_level": 4, "file_insertion_enabled": False, "raw_enabled": False}


@dataclass(frozen=True)
class Figure:
    """A picture: `uri` holds the file, `estimator` is the one that the file's name ends in."""

    name: str
    estimator: str | None
    caption: str
    alt: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Table:
    """A table as text: its header and rows; `uri` holds the file."""

    name: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    uri: str


def read_figure(path: Path, captions: dict[str, Path]) -> Figure:
    """Read an image, to embed as lossless WebP, a third of the size of the PNG.

    `captions` are files in reStructuredText by the names of the figures.
    """
    name, estimator = name_and_estimator(path)
    caption = caption_html(captions[name])
    with Image.open(path) as image, io.BytesIO() as file:
        image.save(file, "WEBP", lossless=True)
        uri = data_uri(file.getvalue(), "image/webp")
        return Figure(name, estimator, caption, first_sentence(caption), uri, *image.size)


def read_table(path: Path, captions: dict[str, Path]) -> Table:
    """Read a CSV file; `captions` as for `read_figure`."""
    path = Path(path)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    uri = data_uri(path.read_bytes(), "text/csv")
    caption = caption_html(captions[path.stem])
    return Table(path.stem, caption, list(frame), frame.to_numpy().tolist(), uri)


def name_and_estimator(path: Path) -> tuple[str, str | None]:
    """Return figure1 and next_batch for figure1-next_batch.png; no estimator for figure1.png."""
    stem = Path(path).stem
    estimator = next((name for name in ESTIMATORS if stem.endswith(name)), None)
    return stem.removesuffix(estimator or "").rstrip("._-"), estimator


def title(name: str) -> str:
    """Return the name of a figure or table for reading: "Figure 1" for figure1."""
    return re.sub(r"(?<=[a-z])(?=\d)", " ", name).replace("_", " ").capitalize()


def caption_html(path: Path) -> str:
    """Return a caption in reStructuredText as HTML."""
    text = Path(path).read_text()
    return publish_parts(text, writer="html5", settings_overrides=DOCUTILS)["body"]


def first_sentence(html: str) -> str:
    """Return the first sentence that says something, as plain text: "Figure 1." does not."""
    text = " ".join(unescape(re.sub("<[^>]+>", "", html)).split())
    sentences = re.split(r"(?<=[.:]) ", text)
    return next((sentence for sentence in sentences if sentence.count(" ") > 2), text)


def data_uri(content: bytes, kind: str) -> str:
    """Return the URI that holds a file of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
