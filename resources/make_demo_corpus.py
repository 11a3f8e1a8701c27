#!/usr/bin/env python3
"""Make the bundled demonstration corpus from Debian's LibreOffice help packages.

The help pages of libreoffice-help-en-us, -de, -et and -fi have the same file names and the same
paragraph ids in every language, so paragraphs with equal page and id translate each other.
The result is laid out and packed like an OPUS release in "moses" format:

    OUTPUT/LibreOfficeHelp/v7.4/moses/{de-en,en-et,en-fi}.txt.zip

The same packages always give the same bytes (as long as the zlib is the same).
"""

import argparse
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

from lxml import html

HERE = Path(__file__).resolve().parent
CORPUS, RELEASE = "LibreOfficeHelp", "v7.4"
PACKAGES = {  # language: package
    "de": "libreoffice-help-de",
    "en": "libreoffice-help-en-us",
    "et": "libreoffice-help-et",
    "fi": "libreoffice-help-fi",
}
PAIRS = [("de", "en"), ("en", "et"), ("en", "fi")]  # OPUS: the two codes in alphabetical order

PAGE = re.compile(r"\./usr/share/libreoffice/help/[^/]+/text/(.+\.html)")
PARAGRAPHS = (
    "//div[@id='DisplayArea']//*[@id][self::p or self::h1 or self::h2 or self::h3 or self::h4"
    " or self::h5 or self::h6]"
)
CODE_CLASSES = {"code", "codeintable", "smathcode"}
# Tags shown as text, references the help compiler could not resolve, search page placeholders.
MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|\.xhp#|\$nice\{")
WORD = re.compile(r"[^\W\d_]{2,}")
MAX_WORDS = 200
MAX_RATIO, RATIO_FROM = 3, 60  # longer/shorter side; checked where one has over 60 characters
MAX_COPIED, COPIED_FROM = 0.8, 4  # share of copied English words; checked from 4 words on

Paragraphs = dict[tuple[str, str], str]  # (page, paragraph id): text


def download(folder: Path) -> None:
    """Fetch the four packages into the folder with apt-get."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", *PACKAGES.values()], cwd=folder, check=True)


def find_package(folder: Path, package: str) -> Path:
    """Return the one .deb file of the package in the folder."""
    found = sorted(folder.glob(f"{package}_*.deb"))
    if len(found) != 1:
        sys.exit(f"{folder}: expected one {package}_*.deb, found {len(found)} (see --download)")
    return found[0]


def package_version(deb: Path) -> str:
    """Return the package's version; leave if it is another LibreOffice release."""
    command = ["dpkg-deb", "--field", deb, "Version"]
    version = subprocess.run(
        command, check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()
    if not version.split(":")[-1].startswith(RELEASE.removeprefix("v") + "."):
        sys.exit(f"{deb.name}: version {version} is not LibreOffice {RELEASE}")
    return version


def read_pages(deb: Path) -> dict[str, bytes]:
    """Return the help pages of a package, by name, in the order of their names."""
    command = ["dpkg-deb", "--fsys-tarfile", deb]
    tar_bytes = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
        members = [(PAGE.fullmatch(m.name), m) for m in tar if m.isfile()]
        return {
            match[1]: tar.extractfile(member).read()
            for match, member in sorted((x for x in members if x[0]), key=lambda x: x[0][1])
        }


def keep_one_variant(element: html.HtmlElement) -> None:
    """Keep the default (or else the first) variant where the text depends on system or module."""
    for switch in element.find_class("switchinline"):
        variants = list(switch)
        default = [v for v in variants if v.get("id", "").startswith("default")]
        kept = (default or variants)[:1]
        for variant in variants:
            if variant not in kept:
                variant.drop_tree()


def clean_text(element: html.HtmlElement) -> str:
    """Return the text of an element: NFC, no soft hyphens, single blanks."""
    keep_one_variant(element)
    for line_break in element.iter("br"):
        line_break.tail = " " + (line_break.tail or "")
    text = unicodedata.normalize("NFC", element.text_content().replace("\u00ad", ""))
    return " ".join(text.split())


def paragraphs(pages: dict[str, bytes]) -> Paragraphs:
    """Return the texts of all paragraphs and headings with an id, without program code.

    These elements never contain each other, so no text is taken twice; of an id that is repeated
    on one page the first occurrence counts.
    """
    texts: Paragraphs = {}
    parser = html.HTMLParser(encoding="utf-8")
    for page, content in pages.items():
        for element in html.document_fromstring(content, parser=parser).xpath(PARAGRAPHS):
            if element.get("class") not in CODE_CLASSES:
                texts.setdefault((page, element.get("id")), clean_text(element))
    return texts


def is_translation(english: str, other: str) -> bool:
    """Tell whether the two texts are worth keeping as a pair."""
    words, other_words = (WORD.findall(text.casefold()) for text in (english, other))
    if not words or not other_words or words == other_words:
        return False
    if any(MARKUP.search(text) or len(text.split()) > MAX_WORDS for text in (english, other)):
        return False
    shorter, longer = sorted((len(english), len(other)))
    if longer > RATIO_FROM and longer > MAX_RATIO * shorter:
        return False
    copied = sum(word in words for word in other_words)
    return len(other_words) < COPIED_FROM or copied < MAX_COPIED * len(other_words)


def align(english: Paragraphs, other: Paragraphs) -> Iterator[tuple[str, str]]:
    """Yield the distinct (English, other) pairs in the order of the English pages."""
    seen = set()
    for key, text in english.items():
        pair = (text, other.get(key, ""))
        if pair not in seen and is_translation(*pair):
            seen.add(pair)
            yield pair


def readme(pair: str, versions: dict[str, str], sentences: int) -> str:
    """Return the README inside a zip, with the header fields that OPUS uses."""
    packages = "\n".join(f"  {PACKAGES[lang]} {versions[lang]}" for lang in pair.split("-"))
    return f"""\
Corpus Name: {CORPUS}
     Package: {CORPUS}.{pair} in Moses format
     Website: https://help.libreoffice.org/
     Release: {RELEASE}
     License: MPL-2.0, see LICENSE

Paragraphs of the LibreOffice help with their translations, {sentences} pairs, aligned by page
and paragraph id. The texts were taken from the Debian packages

{packages}

and selected: no untranslated paragraphs, no program code, every pair once.

Copyright 2000, 2010 Oracle and/or its affiliates.
Copyright 2000, 2010 LibreOffice contributors and/or their affiliates.
Sources of the texts: https://git.libreoffice.org/help, https://git.libreoffice.org/translations

This corpus is packed like the ones of OPUS (https://opus.nlpl.eu) but is not a part of OPUS.
"""


def write_zip(path: Path, members: dict[str, str]) -> None:
    """Write texts to a zip that depends on nothing else: fixed times, modes and order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, text.encode(), zipfile.ZIP_DEFLATED, compresslevel=9)


def report(path: Path, lines: dict[str, tuple[str, ...]]) -> str:
    """Describe one zip in a row of the table in README.md."""
    first, second = (f"{sum(len(x.split()) for x in side):,}" for side in lines.values())
    name, sentences = path.name, f"{len(next(iter(lines.values()))):,}"
    size, digest = f"{path.stat().st_size:,}", hashlib.sha256(path.read_bytes()).hexdigest()
    return f"| `{name}` | {sentences} | {first} | {second} | {size} | `{digest}` |"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("debs", type=Path, help="folder with the four .deb files")
    parser.add_argument("--download", action="store_true", help="apt-get download them into it")
    parser.add_argument(
        "--output", type=Path, default=HERE / "opus", help="root of the tree (default: %(default)s)"
    )
    return parser.parse_args()


def main() -> None:
    """Make the three zips and print a table of them."""
    args = parse_args()
    for tool in ["dpkg-deb"] + ["apt-get"] * args.download:
        if shutil.which(tool) is None:
            sys.exit(f"{tool} not found: this script needs a Debian system")
    if args.download:
        download(args.debs)
    debs = {lang: find_package(args.debs, package) for lang, package in PACKAGES.items()}
    versions = {lang: package_version(deb) for lang, deb in debs.items()}
    texts = {lang: paragraphs(read_pages(deb)) for lang, deb in debs.items()}
    license_text = (HERE / "LICENSE-MPL-2.0.txt").read_text(encoding="utf-8")

    print("| File | Pairs | Words, first language | Words, second | Bytes | SHA-256 |")
    print("|---|--:|--:|--:|--:|---|")
    for pair in PAIRS:
        translated = texts[next(lang for lang in pair if lang != "en")]
        english, other = zip(*align(texts["en"], translated), strict=True)
        lines = {lang: english if lang == "en" else other for lang in pair}
        name = "-".join(pair)
        members = {
            f"{CORPUS}.{name}.{lang}": "".join(f"{x}\n" for x in lines[lang]) for lang in pair
        }
        members["README"] = readme(name, versions, len(english))
        members["LICENSE"] = license_text
        path = args.output / CORPUS / RELEASE / "moses" / f"{name}.txt.zip"
        write_zip(path, members)
        print(report(path, lines))


if __name__ == "__main__":
    main()
