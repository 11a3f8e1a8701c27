"""Manifests: the counts and checksums that every data step leaves beside its outputs."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from lca.files import sha256 as sha256_of_file
from lca.files import whole

from ..trees import Tree
from .job import InputError


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files in the order of their names."""
    path = Path(path)
    if path.is_dir():
        return sha256_of((file for file in path.rglob("*") if file.is_file()), path)
    return sha256_of_file(path)


def sha256_of(files: Iterable[Path], folder: Path) -> str:
    """Return the SHA-256 of files in a folder, in the order of their names."""
    listing = "".join(f"{file.relative_to(folder)} {sha256(file)}\n" for file in sorted(files))
    return hashlib.sha256(listing.encode()).hexdigest()


def write_manifest(path: Path, files: dict[str, Path], **facts: object) -> None:
    """Write `facts` (counts, settings) and the checksum of each named file or folder as JSON."""
    checksums = {name: sha256(file) for name, file in files.items()}
    manifest = {**facts, "sha256": checksums}
    with whole(path) as file:
        file.write(json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n")


def read_manifest(path: Path) -> Tree:
    """Return what `write_manifest` wrote. Raises `InputError` if that is damaged."""
    try:
        manifest: Tree = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise InputError(
            f"{path}: damaged ({error}); remove it, and what it belongs to is made again"
        ) from None
    return manifest


def check_files(manifest: Path, files: dict[str, Path], remake: str) -> None:
    """Raise `InputError` unless each named file is as it was when the manifest was written.

    `remake` is the command that makes them again. Only names that the manifest has are compared.
    """
    expected = read_manifest(manifest)["sha256"]
    for name, path in files.items():
        if name not in expected:
            continue
        if not Path(path).exists():
            raise InputError(f"{path}: missing; {remake}")
        if sha256(path) != expected[name]:
            raise InputError(f"{path}: damaged: not what {manifest} has the checksum of; {remake}")


def check_folder(folder: Path, manifest: Path) -> None:
    """Raise `InputError` unless the files of a folder are as when its manifest was written."""
    files = {name: folder / name for name in read_manifest(manifest)["sha256"]}
    check_files(manifest, files, f"remove {folder} and {manifest}, and they are made again")


def check_bpe(model: Path, **others: Path) -> None:
    """Raise `InputError` unless a SentencePiece model, and others of its files, are as learnt."""
    manifest = Path(model).with_name("bpe.json")
    remake = f"remove {manifest.parent}, and it is made again"
    check_files(manifest, {"model": model, **others}, remake)
