"""Files of the configuration, read without losing what YAML would lose unsaid."""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from .config import ConfigError
from .config_check import check, normalised
from .trees import Tree

CONFIG = Path("config/config.yaml")
SCHEMA = Path("workflow/schemas/config.schema.yaml")

NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

MISREAD = re.compile(r"[-+]?0[\d_]|.*:|[-+]?[1-9]\d{0,2}\.000$")
"""Numbers that YAML 1.1 takes for octal (010 is 8) or for minutes and seconds (1:30 is 90), and
thousands with a point as many languages write them (125.000 is 125)."""

SYNTAX = "indent with blanks, and quote text with any of : # { [ * & ! % @ in it"
"""What mends most of what is no YAML."""

NESTED = "is nested too deeply to be read"


def of_command_line(description: str | None) -> Tree:
    """Return the configuration with the differences of the files named on the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="CONFIGFILE",
        help=f"differences from {CONFIG}, as Snakemake's --configfile has them",
    )
    return load(parser.parse_args().files)


def load(differences: Iterable[str | Path]) -> Tree:
    """Return the configuration with the differences of some files, as `--configfile` has it.

    Ends the program with one line if there is a mistake in it.
    """
    config: Tree = {}
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    try:
        for file in (CONFIG, *differences):
            update_config(config, read(file))
        check(config, schema)
    except ConfigError as error:
        sys.exit(f"error in the configuration: {error}")
    return normalised(config, schema)


def read(path: str | Path) -> Tree:
    """Return the mapping of a YAML or JSON file.

    Raises `ConfigError`, one line with the file and the lines, if it is none, if it cannot be read,
    if a key is given twice (YAML forbids that, and PyYAML keeps the last without a word) or if a
    number means another to YAML (see `MISREAD`).
    """
    try:
        node, content = _parsed(path)
        for problem in _problems(node):
            raise ConfigError(f"{path}: {problem}")
    except RecursionError:
        raise ConfigError(f"{path}: {NESTED}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: is no mapping of keys to values")
    return content


def _parsed(path: str | Path) -> tuple[yaml.Node | None, Any]:
    """Return a file's nodes, which know their lines, and what they mean."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        if Path(path).suffix == ".json":
            text = text.replace("\t", " ")  # which YAML has not, and JSON between words only
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return node, json.loads(text) if Path(path).suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8; save it as such") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}: {error.msg}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", error)
        raise ConfigError(f"{path}: {line}{problem}; {SYNTAX}") from None


def _problems(node: yaml.Node | None) -> Iterator[str]:
    """Yield what YAML allows and nobody means, with its lines."""
    for anchor in _endless(node):
        yield f"line {anchor.start_mark.line + 1}: what this anchor names contains itself"
    for key, first, second in _repeated(node, ""):
        lines = f"line {first}" if first == second else f"lines {first} and {second}"
        yield (
            f"{key} is there twice, in {lines}: join them, since the second would wipe out the "
            "first"
        )
    for number in _misread(node):
        yield (
            f"line {number.start_mark.line + 1}: YAML takes {number.value} for "
            f"{yaml.safe_load(number.value)}; if it is text, quote it; a number is written "
            "without a 0 before it, a colon or a point for thousands"
        )


def _endless(node: yaml.Node | None, around: tuple[yaml.Node, ...] = ()) -> Iterator[yaml.Node]:
    """Yield the lists and mappings that contain themselves, by an alias."""
    if node in around:
        yield node
    elif isinstance(node, yaml.CollectionNode):
        for item in _items(node):
            yield from _endless(item, (*around, node))


def _items(node: yaml.CollectionNode) -> Iterator[yaml.Node]:
    """Return all that is directly in a list or mapping: of the latter, keys and values."""
    is_mapping = isinstance(node, yaml.MappingNode)
    return chain.from_iterable(node.value) if is_mapping else iter(node.value)


def _repeated(node: yaml.Node | None, place: str) -> Iterator[tuple[str, int, int]]:
    """Yield every key that a mapping has twice, with both lines."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _repeated(item, f"{place}[{number}]")
    elif isinstance(node, yaml.MappingNode):
        lines: dict[object, int] = {}
        for key, value in node.value:
            name, line = f"{place}.{key.value}".removeprefix("."), key.start_mark.line + 1
            if key.value in lines:
                yield name, lines[key.value], line
            lines[key.value] = line
            yield from _repeated(value, name)


def _misread(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Yield the numbers that are others than they seem."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag in NUMBERS and MISREAD.match(node.value):
            yield node
    elif isinstance(node, yaml.CollectionNode):
        for item in _items(node):
            yield from _misread(item)


def check_command_line(entries: Iterable[str]) -> None:
    """Refuse in the KEY=VALUE of `--config` what `read` refuses in a file, and a KEY given twice.

    Raises `ConfigError`. Snakemake takes for text what is no YAML; then there is nothing to refuse.
    """
    seen = set()
    for entry in entries:
        key, _, value = entry.partition("=")
        if key in seen:
            raise ConfigError(f"--config {key}: is given twice: join them")
        seen.add(key)
        try:
            for problem in _problems(yaml.compose(value, Loader=yaml.SafeLoader)):
                raise ConfigError(f"--config {key}: {problem}")
        except RecursionError:
            raise ConfigError(f"--config {key}: {NESTED}") from None
        except yaml.YAMLError:
            pass


def adopt_types(config: Tree, given: Tree) -> None:
    """Make numbers, null and so on of what `--config` gave as their text, in `config`.

    Snakemake takes all that stands in brackets there for text: of `seeds=[1,2]` it makes
    `["1", "2"]`. `given` is what it made; what is not so in `config` is left alone.
    """
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            adopt_types(config[key], value)
        elif config.get(key) == value:
            config[key] = _typed(value)


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if value in ("true", "false", "null") or isinstance(value, str) and _is_number(value):
        return yaml.safe_load(value)
    return value


def _is_number(text: str) -> bool:
    """Tell whether YAML takes a text for a number."""
    return yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False)) in NUMBERS
