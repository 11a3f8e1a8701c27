"""By what code, where and when a training was made: what its manifest says besides its results."""

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from lca.files import sha256, whole

from ..trees import Tree

ROOT = Path(__file__).parents[3]
CODE = ("workflow", "scripts", "src")
KINDS = {".py", ".smk", ".yaml", ".rst", ".md", ".mplstyle", ".j2", ".css", ".js"}
LIST_FILES = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")


def code(root: Path = ROOT) -> Tree:
    """Return the Git commit, whether the code differs from it, and the code's checksum.

    The first two are None where `root` is no Git repository. The checksum is of what Git tracks or
    would track, elsewhere of the files of `KINDS`: not of what Python and Numba leave beside them,
    which comes and goes while other jobs start.
    """
    about: Tree = {"commit": None, "modified": None}
    listed = None
    if (root / ".git").exists():  # else Git would answer for a repository around it
        about["commit"] = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", *CODE)
        about["modified"] = None if changes is None else bool(changes)
        listed = _git(root, *LIST_FILES, "--", *CODE)
    if listed is None:
        files = [path for name in CODE for path in (root / name).rglob("*")]
        files = [path for path in files if path.suffix in KINDS or path.name == "Snakefile"]
    else:
        files = [root / name for name in listed.split("\0") if name]
    return about | {"sha256": _checksum(files, root)}


def _checksum(files: list[Path], root: Path) -> str:
    """Return the checksum of those of the files that are there, and still when they are read."""
    listing = hashlib.sha256()
    for file in sorted(files):
        with suppress(FileNotFoundError):
            listing.update(f"{file.relative_to(root)} {sha256(file)}\n".encode())
    return listing.hexdigest()


def _git(root: Path, *arguments: str) -> str | None:
    """Return what Git prints, None if it fails or is not installed."""
    with suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True
        ).stdout.strip()
    return None


def devices() -> list[str]:
    """Return the names of the visible cards or, if there are none, of the processor."""
    import torch

    cards = range(torch.cuda.device_count())
    return [torch.cuda.get_device_name(card) for card in cards] or [processor()]


def processor() -> str:
    """Return the name of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def attempt(path: Path, **facts: object) -> Iterator[None]:
    """Add an attempt, with `facts`, to the list in `path`, and when it ends, the time.

    One that was killed has no end.
    """
    begun = {"started": _now(), "finished": None, "host": platform.node(), **facts}
    before = attempts(path)
    _write(path, [*before, begun])
    try:
        yield
    finally:
        with suppress(OSError):  # a full disk: what made the attempt fail says more
            _write(path, [*before, begun | {"finished": _now()}])


def attempts(path: Path) -> list[Tree]:
    """Return the attempts so far: started and finished (UTC), host, and the facts of each.

    A list that is damaged begins anew: it is no reason not to train.
    """
    try:
        earlier: list[Tree] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    except ValueError as error:
        print(f"{path}: damaged ({error}): the list of attempts begins anew", file=sys.stderr)
        return []
    return earlier


def _write(path: Path, content: list[Tree]) -> None:
    with whole(path) as file:
        file.write(json.dumps(content, indent=2).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
