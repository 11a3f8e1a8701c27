"""Our own code as the rules' scripts import it: where it is, and whether it changed.

Snakemake itself notices changes of a script, not of what it imports.
"""

import ast
import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

PACKAGES = Path(__file__).parents[1]
OURS = ("closer_look", "lca")
LINKS = Path(".snakemake/closer_look/packages")
"""Where they are linked to if they are installed; beside Snakemake's own, every node sees it."""

NOT_CODE = {".py", ".pyc", ".md", ".typed"}
"""Suffixes of files beside the modules that are no data of theirs."""


def pass_on_packages() -> None:
    """Let the jobs of this process, and the tools that they start, import our packages it has."""
    paths = [str(alone(PACKAGES)), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def alone(packages: Path) -> Path:
    """Return a folder that has our packages of a folder, and none of the site's.

    A job's own environment, perhaps of another Python, must not find what is installed beside them.
    """
    if packages.name not in ("site-packages", "dist-packages"):
        return packages
    folder = LINKS.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name in OURS:
        link, target = folder / name, packages / name
        if not link.is_symlink() or link.readlink() != target:
            unfinished = folder / f"{name}.{os.getpid()}"
            unfinished.symlink_to(target)
            unfinished.replace(link)  # at once: jobs may be importing
    return folder


def checksum(script: Path | str) -> str:
    """Return the checksum of all our modules that a script imports, directly or not.

    With them count the data files of their packages: style sheets, templates.
    """
    modules: set[Path] = set()
    waiting = list(_imports(Path(script)))
    while waiting:
        module = waiting.pop()
        if module not in modules:
            modules.add(module)
            waiting += _imports(module)
    data = {file for module in modules for file in _data(module.parent)}
    digest = hashlib.sha256()
    for file in sorted(modules | data):
        digest.update(f"{file.relative_to(PACKAGES)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Return our modules that a file names in its imports, and the packages they are in."""
    files: list[Path] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            files += _files(name)
    return tuple(dict.fromkeys(files))


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    """Return the full name of the module that an import is from."""
    if not node.level:
        return node.module or ""
    package = path.parents[node.level - 1].relative_to(PACKAGES).parts
    return ".".join([*package, *([node.module] if node.module else [])])


def _files(name: str) -> Iterator[Path]:
    """Yield the files that importing a module runs: its packages' and its own, if it is ours."""
    parts = name.split(".")
    if parts[0] not in OURS:
        return
    for end in range(1, len(parts) + 1):
        stem = PACKAGES.joinpath(*parts[:end])
        for file in (stem / "__init__.py", stem.with_suffix(".py")):
            if file.is_file():
                yield file


@lru_cache
def _data(folder: Path) -> tuple[Path, ...]:
    """Return the files of a package that are not modules, and those in its folders of data."""
    files = []
    for path in folder.iterdir():
        if path.is_file() and path.suffix not in NOT_CODE:
            files.append(path)
        elif path.is_dir() and path.name != "__pycache__" and not any(path.glob("*.py")):
            files += [file for file in path.rglob("*") if file.is_file()]
    return tuple(files)
