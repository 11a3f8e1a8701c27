"""The configuration, checked, and the runs it asks for. Knows nothing of files or Snakemake."""

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, NamedTuple, cast

import jsonschema
import sacrebleu
import yaml

from .jobs.job import InputError
from .trees import Tree
from .vocabulary import OBJECTIVES

LARGEST = 2**31 - 1
"""SentencePiece's numbers have 32 bits, and numpy's seeds, to which fairseq adds the epoch."""

SINGLE = 2.0**-126, 2.0**128
"""What a number is in single precision, in which models are trained: less is 0, more infinite."""

OF_OPTIMIZER = {"adam": ("adam_betas", "adam_eps"), "sgd": ("momentum",)}
"""The settings that only one optimizer has."""

AS_IN_FAIRSEQ: dict[str, dict[str, bool | str]] = {
    "tie_output": {"mlm": True, "clm": False, "mt": False},
    "positions": {"mlm": "learned", "clm": "sinusoidal", "mt": "sinusoidal"},
    "embedding_norm": {"mlm": True, "clm": False, "mt": False},
    "scale_embeddings": {"mlm": False, "clm": True, "mt": True},
    "sample_break": {"mlm": "complete", "clm": "none"},
}
"""Settings by objective in which fairseq's architectures and tasks differ, and their defaults."""

BY_OBJECTIVE: dict[str, Iterable[str]] = {"norm": OBJECTIVES, **AS_IN_FAIRSEQ}
"""The settings that may be given in one word, and the objectives that have them."""

NORMS_RECORDED = ("mlm", "clm", "mt")
"""The objectives whose norms every training is known by, as when there were no others."""

OPTIONAL = ("momentum", "noise", "max_train", "max_sentence_pieces", *AS_IN_FAIRSEQ)
"""The settings that `training` need not have."""


class ConfigError(InputError):
    """A mistake in the configuration: one line naming the key and what it accepts."""


def _whole_pattern(
    validator: object, pattern: str, value: object, schema: Tree
) -> Iterator[jsonschema.ValidationError]:
    """Match a pattern as JSON Schema means it: `$` is the end, and not a line's end before it."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"pattern": _whole_pattern}
)


class Run(NamedTuple):
    """One training: what the model learns from, how, and with which seed."""

    corpus: str
    objective: str
    languages: str
    """One language of a language model (`de`), source and target of translation (`de-en`)."""
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """The run's name in paths and tables, such as `europarl/mt/de-en/base/1`."""
        return "/".join(map(str, self))


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


def check_recorded(config: Tree, estimator: str) -> None:
    """Raise `ConfigError` if the main runs do not record an estimator that is to be drawn."""
    variant = variants(config)[0]
    if estimator == "trapezoid" and not settings(config, variant)["trapezoid"]["every"]:
        raise ConfigError(
            f"{estimator}: not recorded by variant {variant}; with `training.trapezoid.every` "
            "above 0, `snakemake` trains and draws it"
        )


def runs(config: Tree) -> list[Run]:
    """Return all runs of the configuration, each once, in its order."""
    all_runs = [
        Run(entry["corpus"], objective, languages, variant, seed)
        for entry in config["runs"]
        for objective in entry["objectives"]
        for languages in _languages(entry, objective)
        for variant in _trained_variants(config, objective)
        for seed in config["seeds"]
    ]
    return list(dict.fromkeys(all_runs))


def variants(config: Tree) -> list[str]:
    """Return the variants' names, `base` first: Snakemake puts those of a --configfile before."""
    return sorted(config["variants"], key=lambda name: name != "base")


def main_runs(config: Tree, variant: str | None = None) -> list[Run]:
    """Return the runs that stand for their objectives, of the first seed.

    Those of a variant, by default the first. Of equal variants only the first is trained, so that
    it stands for the others.
    """
    chosen, seed = variant or variants(config)[0], config["seeds"][0]
    models = (name.split("/") for name in filter(None, config["main_runs"].values()))
    return [
        Run(corpus, objective, languages, _trained_as(config, objective, chosen), seed)
        for corpus, objective, languages in models
    ]


def all_main_runs(config: Tree) -> list[Run]:
    """Return the main runs of all variants, each once."""
    found = [run for variant in variants(config) for run in main_runs(config, variant)]
    return list(dict.fromkeys(found))


def varied(config: Tree, run: Run) -> Tree:
    """Return the settings in which the variants differ, as this run has them."""
    keys = {key for changes in config["variants"].values() for key in changes}
    values = AS_IN_FAIRSEQ | settings(config, run.variant)
    return {
        key: values[key].get(run.objective) if key in BY_OBJECTIVE else values.get(key)
        for key in sorted(keys)
    }


def probed_throughout(config: Tree) -> list[Run]:
    """Return the runs of which every update is probed, main runs first."""
    main = main_runs(config)
    probed = [run for run in runs(config) if settings(config, run.variant)["probe"]["every"] == 1]
    return sorted(probed, key=lambda run: run not in main)


def pair(config: Tree, corpus: str, languages: str) -> str:
    """Return the pair (`en-de`) whose text a model of `languages` is trained on.

    Raises `KeyError` if there is none.
    """
    for entry in (entry for entry in config["runs"] if entry["corpus"] == corpus):
        monolingual: dict[str, str] = entry.get("monolingual", {})
        if languages in monolingual:
            return monolingual[languages]
        pairs: list[str] = entry["pairs"]
        for candidate in pairs:
            sides = candidate.split("-")
            if languages in (*sides, "-".join(sides), "-".join(reversed(sides))):
                return candidate
    raise KeyError(f"no pair of {corpus} for {languages}")


def settings(config: Tree, variant: str) -> Tree:
    """Return the training settings of a variant that its optimizer has; `BY_OBJECTIVE` so."""
    chosen = config["training"] | config["variants"][variant]
    others = OF_OPTIMIZER.keys() - {chosen["optimizer"]}
    unused = {key for optimizer in others for key in OF_OPTIMIZER[optimizer]}
    if not chosen.get("noise"):
        unused.add("noise")
    for key in BY_OBJECTIVE.keys() & chosen.keys():
        if not isinstance(chosen[key], dict):
            chosen[key] = dict.fromkeys(BY_OBJECTIVE[key], chosen[key])
    return {key: value for key, value in chosen.items() if key not in unused}


def of_objective(settings: Tree, objective: str) -> Tree:
    """Return the settings of one objective's training, by which its state and record are known.

    Of `AS_IN_FAIRSEQ` there is only what differs from it, so that a training is what it was before
    there were these settings, and does not change with those of other objectives.
    """
    own = {key: value for key, value in settings.items() if key not in AS_IN_FAIRSEQ}
    for key, defaults in AS_IN_FAIRSEQ.items():
        value = settings.get(key, defaults).get(objective)
        if value != defaults.get(objective):
            own[key] = value
    norms = settings["norm"]
    return own | {"norm": {key: norms[key] for key in norms if key in (*NORMS_RECORDED, objective)}}


def settings_by_run(config: Tree) -> dict[str, Tree]:
    """Return the training settings of all runs by their names."""
    return {
        run.name: of_objective(settings(config, run.variant), run.objective) for run in runs(config)
    }


def hours(settings: Tree, tokens_per_second: float) -> float:
    """Return how long a training of these settings takes at that speed."""
    tokens: int = settings["total_updates"] * settings["tokens_per_update"]
    return tokens / tokens_per_second / 3600


def _trained_variants(config: Tree, objective: str) -> list[str]:
    """Return the variants that differ for an objective; of equal ones the first."""
    trained = (_trained_as(config, objective, variant) for variant in variants(config))
    return list(dict.fromkeys(trained))


def _trained_as(config: Tree, objective: str, variant: str) -> str:
    """Return the first of the variants that train the same models of an objective."""
    return next(other for other in variants(config) if _are_same(config, objective, variant, other))


def _are_same(config: Tree, objective: str, *pair: str) -> bool:
    """Tell whether two variants train the same models of an objective."""
    one, other = (of_objective(settings(config, variant), objective) for variant in pair)
    norms = {each["norm"][objective] for each in (one, other)}
    return one | {"norm": None} == other | {"norm": None} and len(norms) == 1


def _languages(entry: Tree, objective: str) -> Iterator[str]:
    """Yield what an entry's models of an objective are trained for, possibly repeated."""
    if objective != "mt":
        yield from entry.get("languages", _all_languages(entry))
        return
    for pair in entry["pairs"]:
        yield pair
        if entry.get("directions", "both") == "both":
            yield "-".join(reversed(pair.split("-")))


def _all_languages(entry: Tree) -> list[str]:
    """Return the languages of an entry's pairs."""
    return [language for pair in entry["pairs"] for language in pair.split("-")]


def _check_files(corpus: Tree, key: str) -> None:
    """Check that the names of a corpus's files tell its languages apart."""
    for number, part in enumerate(corpus.get("parts", [])):
        key_of_part = f"{key}.parts[{number}]"
        if "files" in part:
            _check_pattern(part["files"], corpus["languages"], f"{key_of_part}.files")
        else:
            _check_pattern(part["url"], corpus["languages"], f"{key_of_part}.url")
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
    if isinstance(pattern, dict) and (missing := set(languages) - set(pattern)):
        raise ConfigError(f"{key}.{min(missing)}: missing")
    if isinstance(pattern, dict):
        for first, second in combinations(pattern, 2):
            if pattern[first] == pattern[second]:
                name = pattern[first]
                raise ConfigError(f"{key}: {first} and {second} have the same file, {name!r}")


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
        if language not in _all_languages(entry):
            choices = sorted(set(_all_languages(entry)))
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
            if all(_are_same(config, objective, variant, other) for objective in OBJECTIVES):
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
        raise ConfigError(f"{key}.momentum: missing; sgd needs one, if only 0")


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
        case "type":
            kinds = _kinds(schema)
            is_text = "string" in kinds
            hint = _quote(instance) if is_text else _number_hint(instance, kinds)
            if kinds == ["array"] and not isinstance(instance, dict | None):
                hint = f" (in YAML, a list is in brackets: [{instance}])"
            return f"{key}: {instance!r} is not of type {' or '.join(kinds)}{hint}"
        case "pattern" if "title" in schema:
            return f"{key}: {error.message}: it has to be {schema['title']}"
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
