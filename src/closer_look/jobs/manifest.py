"""Manifests: the counts and checksums that every data step leaves beside its outputs."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files in the order of their names."""
    path = Path(path)
    if path.is_dir():
        return sha256_of((file for file in path.rglob("*") if file.is_file()), path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(files: Iterable[Path], folder: Path) -> str:
    """Return the SHA-256 of files in a folder, in the order of their names."""
    listing = "".join(f"{file.relative_to(folder)} {sha256(file)}\n" for file in sorted(files))
    return hashlib.sha256(listing.encode()).hexdigest()


def write_manifest(path: Path, files: dict[str, Path], **facts) -> None:
    """Write `facts` (counts, settings) and the checksum of each named file or folder as JSON."""
    checksums = {name: sha256(file) for name, file in files.items()}
    manifest = {**facts, "sha256": checksums}
    Path(path).write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def read_manifest(path: Path) -> dict:
    """Return what `write_manifest` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
