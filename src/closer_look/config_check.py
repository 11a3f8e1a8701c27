"""Whether the configuration is right: of a mistake, one line with its key and what is accepted."""

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, cast

import jsonschema
import sacrebleu
import yaml

from .config import (
    AS_IN_FAIRSEQ,
    BY_OBJECTIVE,
    OF_OPTIMIZER,
    ConfigError,
    all_languages,
    are_same,
    check_recorded,
    runs,
    settings,
    variants,
)
from .trees import Tree
from .vocabulary import OBJECTIVES

LARGEST = 2**31 - 1
"""SentencePiece's numbers have 32 bits, and numpy's seeds, to which fairseq adds the epoch."""

SINGLE = 2.0**-126, 2.0**128
"""What a number is in single precision, in which models are trained: less is 0, more infinite."""

OPTIONAL = ("momentum", "noise", "max_train", "max_sentence_pieces", *AS_IN_FAIRSEQ)
"""The settings that `training` need not have."""


def _whole_pattern(
    validator: object, pattern: str, value: object, schema: Tree
) -> Iterator[jsonschema.ValidationError]:
    """Match a pattern as JSON Schema means it: `$` is the end, and not a line's end before it."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"pattern": _whole_pattern}
)


def check(config: Tree, schema: Tree) -> None:
    """Raise `ConfigError` for the first mistake in `config`, if there is one."""
    config = normalised(config, schema)
    for key, value in _leaves(config):
        _check_value(key, value)
    error = jsonschema.exceptions.best_match(Validator(schema).iter_errors(config))
    if error:
        raise ConfigError(_explain(error))
    for name, corpus in config["corpora"].items():
        _check_files(corpus, f"corpora.{name}")
    for key in ("opus_mirror", "opus_database"):
        if config[key] is not None:
            _check_path(config[key], key)
    for number, entry in enumerate(config["runs"]):
        _check_entry(entry, f"runs[{number}]", config["corpora"])
    _check_test_sets(config)
    required = schema["$defs"]["training"]["properties"].keys() - OPTIONAL
    if missing := required - config["training"].keys():
        raise ConfigError(f"training.{min(missing)}: missing")
    _check_variants(config)
    if not runs(config):
        raise ConfigError("runs: no run: none of them has a language for one of its objectives")
    _check_main_runs(config)
    for estimator in (config["figures"]["estimator"], *config["figures"]["also"]):
        check_recorded(config, estimator)


def doubts(config: Tree) -> Iterator[str]:
    """Yield, each in one line, what is allowed but hardly meant."""
    for variant in variants(config):
        training = config["training"] | config["variants"][variant]
        warmup, updates = training["warmup_updates"], training["total_updates"]
        if warmup >= updates:
            place = _place(config, variant, "warmup_updates", "total_updates")
            yield f"{place}.warmup_updates: ends at update {warmup}, the training at {updates}"


def normalised(config: Tree, schema: Tree) -> Tree:
    """Return the configuration with integers where the schema wants them, as of `1.0e+5`."""
    whole: Tree = _normalised(config, schema, schema["$defs"])
    return whole


def _normalised(value: Any, schema: Tree, definitions: Tree) -> Any:
    schema = definitions[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
        return {
            key: _normalised(entry, known.get(key, others), definitions)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [_normalised(entry, schema.get("items", {}), definitions) for entry in value]
    is_integral = isinstance(value, float) and value.is_integer()
    return int(value) if is_integral and "integer" in _kinds(schema) else value


def _kinds(schema: Tree) -> list[str]:
    """Return the types that a schema accepts."""
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _check_files(corpus: Tree, key: str) -> None:
    """Check that the names of a corpus's files tell its languages apart."""
    for number, part in enumerate(corpus.get("parts", [])):
        key_of_part = f"{key}.parts[{number}]"
        if "files" not in part:
            _check_pattern(part["url"], corpus["languages"], f"{key_of_part}.url")
        elif "{language}" not in part["url"]:  # otherwise each language has an archive of its own
            _check_pattern(part["files"], corpus["languages"], f"{key_of_part}.files")
        elif isinstance(part["files"], dict):
            _check_complete(part["files"], corpus["languages"], f"{key_of_part}.files")
    if "files" in corpus:
        files = corpus["files"]
        _check_pattern(files, corpus["languages"], f"{key}.files")
        for path in files.values() if isinstance(files, dict) else [files]:
            _check_path(path, f"{key}.files")


def _check_path(path: str, key: str) -> None:
    """Refuse a path of this machine that only a shell would understand, or none."""
    if path[:1] in ("", "~", "$"):
        raise ConfigError(f"{key}: {path!r} is no path: write it out, ~ and $ stand for themselves")
    if "://" in path:
        raise ConfigError(f"{key}: {path!r} is no path but an address: `source: url` reads those")


def _check_pattern(pattern: str | dict[str, str], languages: list[str], key: str) -> None:
    if isinstance(pattern, str) and "{language}" not in pattern:
        raise ConfigError(f"{key}: {pattern!r} is the same for both languages: put {{language}} in")
    if isinstance(pattern, dict):
        _check_complete(pattern, languages, key)
        for first, second in combinations(pattern, 2):
            if pattern[first] == pattern[second]:
                name = pattern[first]
                raise ConfigError(f"{key}: {first} and {second} have the same file, {name!r}")


def _check_complete(files: dict[str, str], languages: list[str], key: str) -> None:
    if missing := set(languages) - set(files):
        raise ConfigError(f"{key}.{min(missing)}: missing")


def _check_test_sets(config: Tree) -> None:
    """Check that sacrebleu has the test sets."""
    for corpus, entry in config["corpora"].items():
        for name in entry.get("test_sets", []):
            if name not in (accepted := sacrebleu.get_available_testsets()):
                raise ConfigError(_refuse(f"corpora.{corpus}.test_sets", name, accepted))


def _check_main_runs(config: Tree) -> None:
    """Check that every main run is a run, of its objective."""
    accepted = sorted({run.name.rsplit("/", 2)[0] for run in runs(config)})
    for objective, name in config["main_runs"].items():
        if name is None:
            continue
        if name not in accepted or name.split("/")[1] != objective:
            choices = [choice for choice in accepted if choice.split("/")[1] == objective]
            if not choices:
                raise ConfigError(f"main_runs.{objective}: no run has this objective: write null")
            raise ConfigError(_refuse(f"main_runs.{objective}", name, choices))


def _check_entry(entry: Tree, key: str, corpora: Tree) -> None:
    """Check what the schema cannot: names that refer to other parts of the configuration."""
    if entry["corpus"] not in corpora:
        raise ConfigError(_refuse(f"{key}.corpus", entry["corpus"], corpora))
    known = corpora[entry["corpus"]]["languages"]
    for pair in entry["pairs"]:
        source, target = pair.split("-")
        for language in (source, target):
            if language not in known:
                raise ConfigError(_refuse(f"{key}.pairs: {pair}", language, known, "language"))
        if source == target:
            raise ConfigError(f"{key}.pairs: {pair}: a pair has two languages")
        if f"{target}-{source}" in entry["pairs"]:
            raise ConfigError(f"{key}.pairs: {pair}: is there twice; `directions` says which way")
    for language in entry.get("languages", []):
        if language not in all_languages(entry):
            choices = sorted(set(all_languages(entry)))
            raise ConfigError(_refuse(f"{key}.languages", language, choices))
    for language, pair in entry.get("monolingual", {}).items():
        choices = [choice for choice in entry["pairs"] if language in choice.split("-")]
        if pair not in choices:
            raise ConfigError(_refuse(f"{key}.monolingual.{language}", pair, choices))


def _check_variants(config: Tree) -> None:
    """Check every variant with the settings that it has from `training`."""
    if config["training"]["optimizer"] == "adam" and "momentum" in config["training"]:
        raise ConfigError("training.momentum: only with optimizer: sgd")
    seen: list[str] = []
    for variant in variants(config):
        _check_optimizer(config, variant)
        _check_sizes(config, variant)
        _check_roberta(config, variant)
        for other in seen:
            if all(are_same(config, objective, variant, other) for objective in OBJECTIVES):
                raise ConfigError(
                    f"variants.{variant}: overrides nothing that variants.{other} does not"
                )
        seen.append(variant)


def _check_optimizer(config: Tree, variant: str) -> None:
    """Check that a variant has the settings of its optimizer, and none of another."""
    changes = config["variants"][variant]
    key, training = f"variants.{variant}", config["training"] | changes
    for optimizer, names in OF_OPTIMIZER.items():
        wrong = [name for name in names if name in changes]
        if wrong and optimizer != training["optimizer"]:
            raise ConfigError(f"{key}.{wrong[0]}: only with optimizer: {optimizer}")
    if training["optimizer"] == "sgd" and "momentum" not in training:
        place = _place(config, variant, "optimizer")
        raise ConfigError(f"{place}.momentum: missing; sgd needs one, if only 0")


def _check_sizes(config: Tree, variant: str) -> None:
    """Check that heads divide a variant's width, and that a sample fits an update."""
    training = config["training"] | config["variants"][variant]
    if training["embed_dim"] % training["heads"]:
        place = _place(config, variant, "embed_dim", "heads")
        raise ConfigError(f"{place}.embed_dim: not divisible by {training['heads']} heads")
    context, update = training["tokens_per_sample"], training["tokens_per_update"]
    if context > update and _trained(config) & {"mlm", "clm"}:
        place = _place(config, variant, "tokens_per_sample", "tokens_per_update")
        raise ConfigError(f"{place}.tokens_per_sample: {context} do not fit an update of {update}")


def _check_roberta(config: Tree, variant: str) -> None:
    """Check that some option of fairseq's makes a variant's masked model."""
    if "mlm" in _trained(config) and (refused := _not_in_roberta(settings(config, variant))):
        setting, reason = refused
        raise ConfigError(f"{_place(config, variant, setting)}.{setting}: {reason}")


def _place(config: Tree, variant: str, *keys: str) -> str:
    """Return where a variant has one of its settings from: itself, or `training`."""
    return f"variants.{variant}" if config["variants"][variant].keys() & {*keys} else "training"


def _trained(config: Tree) -> set[str]:
    """Return the objectives of all runs."""
    return {objective for entry in config["runs"] for objective in entry["objectives"]}


def _not_in_roberta(settings: Tree) -> tuple[str, str] | None:
    """Return a setting of the masked model that no option of fairseq's makes, and why."""
    mlm = {key: settings[key]["mlm"] for key in BY_OBJECTIVE if key in settings}
    if mlm.get("positions") == "sinusoidal":
        return "positions", "fairseq's masked model (mlm) has none but learned ones"
    if mlm.get("scale_embeddings"):
        return "scale_embeddings", "fairseq's masked model (mlm) never does"
    if mlm.get("embedding_norm") is False and mlm["norm"] == "post":
        return "embedding_norm", "fairseq's masked model (mlm) has one with norm: post"
    return None


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield all that is no mapping and no list in the configuration, with its key."""
    if isinstance(value, dict):
        for name, entry in value.items():
            if not isinstance(name, str):
                raise ConfigError(f"{key or 'config'}: key {name!r}{_quote(name)}")
            _check_value(f"{key or 'config'}: key", name)
            yield from _leaves(entry, f"{key}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _leaves(entry, f"{key}[{number}]")
    else:
        yield key, value


def _check_value(key: str, value: object) -> None:
    """Check what no number and no text may be, wherever it stands."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key}: {value} is not a finite number")
    if isinstance(value, float) and value and not SINGLE[0] <= abs(value) < SINGLE[1]:
        raise ConfigError(f"{key}: {value} is 0 or infinite in single precision")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(f"{key}: {value} is more than {LARGEST}, the most that the tools take")
    if isinstance(value, str) and re.search(r"[\x00-\x1f\x7f]", value):
        raise ConfigError(f"{key}: {value!r} has a line break, a tab or a control character in it")


def _explain(error: jsonschema.ValidationError) -> str:
    """Return a schema violation as one line with the accepted keys, values or type."""
    key = error.json_path.removeprefix("$").removeprefix(".")
    # The stubs say that these may be unset: not in an error that a validator yields.
    schema, wanted = cast(Tree, error.schema), cast("list[str]", error.validator_value)
    instance = cast(Any, error.instance)
    match error.validator:
        case "additionalProperties":
            known = schema["properties"]
            unknown = next(name for name in instance if name not in known)
            return _refuse(key or "config", unknown, known, "key")
        case "required":
            missing = next(name for name in wanted if name not in instance)
            return f"{key}.{missing}: missing".removeprefix(".")
        case "enum":
            return _refuse(key, instance, wanted)
        case "type" if instance is None and _kinds(schema) == ["object"]:
            return f"{key}: nothing stands below it: indent what belongs to it, or write {{}}"
        case "type":
            kinds = _kinds(schema)
            is_text = "string" in kinds
            hint = _quote(instance) if is_text else _number_hint(instance, kinds)
            if kinds == ["array"] and not isinstance(instance, dict | None):
                hint = f" (in YAML, a list is in brackets: [{instance}])"
            return f"{key}: {instance!r} is not of type {' or '.join(kinds)}{hint}"
        case "pattern" if "title" in schema:
            return f"{key}: {instance!r} has to be {schema['title']}"
        case "pattern" if choices := re.fullmatch(r"\^\(([\w|]+)\)\$", schema["pattern"]):
            return _refuse(key, instance, choices[1].split("|"))
        case _:
            return f"{key}: {error.message}".replace("\n", " ")


def _quote(value: object) -> str:
    """Explain where YAML sees something else than text."""
    if isinstance(value, bool):
        return " (YAML takes an unquoted no, off, on or yes for that: quote it)"
    return "" if isinstance(value, dict | list) else " (in YAML, text that looks so must be quoted)"


def _number_hint(value: object, kinds: list[str]) -> str:
    """Explain YAML's view of `1e-6`, which it takes for text."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return ""
    if math.isfinite(number) and "number" in kinds:
        return f" (in YAML: {yaml.safe_dump(number).split()[0]})"
    if number.is_integer() and "integer" in kinds:
        return f" (in YAML: {int(number)})"
    return ""


def _refuse(key: str, value: str, accepted: Iterable[object], kind: str = "value") -> str:
    """Return one line that refuses `value`, names what is accepted and what is nearest."""
    choices = [str(choice) for choice in accepted]
    near = difflib.get_close_matches(str(value), choices, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{key}: unknown {kind} {value!r}{hint}; accepted: {', '.join(choices)}"
