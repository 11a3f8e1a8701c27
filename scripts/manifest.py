"""Manifests: the counts and checksums that every data step leaves beside its outputs."""

import hashlib
import json
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files in the order of their names."""
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listing = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(path: Path, files: dict[str, Path], **facts) -> None:
    """Write `facts` (counts, settings) and the checksum of each named file or folder as JSON."""
    checksums = {name: sha256(file) for name, file in files.items()}
    manifest = {**facts, "sha256": checksums}
    Path(path).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def read_manifest(path: Path) -> dict:
    """Return what `write_manifest` wrote."""
    return json.loads(Path(path).read_text())
