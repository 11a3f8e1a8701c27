"""The configuration, checked, and the runs it asks for. Knows nothing of files or Snakemake."""

import difflib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jsonschema
import sacrebleu

OBJECTIVES = ("mlm", "clm", "mt")

OF_OPTIMIZER = {"adam": ("adam_betas", "adam_eps"), "sgd": ("momentum",)}
"""The settings that only one optimizer has."""

OPTIONAL = ("momentum", "noise", "max_train")
"""The settings that `training` need not have."""


class ConfigError(Exception):
    """A mistake in the configuration: one line naming the key and what it accepts."""


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


def check(config: dict, schema: dict) -> None:
    """Raise `ConfigError` for the first mistake in `config`, if there is one."""
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    error = jsonschema.exceptions.best_match(errors)
    if error:
        raise ConfigError(_explain(error))
    for name, corpus in config["corpora"].items():
        _check_files(corpus, f"corpora.{name}")
    for number, entry in enumerate(config["runs"]):
        _check_entry(entry, f"runs[{number}]", config["corpora"])
    for corpus, entry in config["corpora"].items():
        for name in entry.get("test_sets", []):
            if name not in (accepted := sacrebleu.get_available_testsets()):
                raise ConfigError(_refuse(f"corpora.{corpus}.test_sets", name, accepted))
    required = schema["$defs"]["training"]["properties"].keys() - OPTIONAL
    if missing := required - config["training"].keys():
        raise ConfigError(f"training.{min(missing)}: missing")
    _check_variants(config)
    accepted = sorted({run.name.rsplit("/", 2)[0] for run in runs(config)})
    for objective, name in config["main_runs"].items():
        if name is None:
            continue
        if name not in accepted or name.split("/")[1] != objective:
            choices = [choice for choice in accepted if choice.split("/")[1] == objective]
            raise ConfigError(_refuse(f"main_runs.{objective}", name, choices))
    for estimator in (config["figures"]["estimator"], *config["figures"]["also"]):
        check_recorded(config, estimator)


def check_recorded(config: dict, estimator: str) -> None:
    """Raise `ConfigError` if the main runs do not record an estimator that is to be drawn."""
    variant = _base_first(config)[0]
    if estimator == "trapezoid" and not settings(config, variant)["trapezoid"]:
        raise ConfigError(
            f"{estimator}: not recorded by variant {variant}; with `training.trapezoid: true`, "
            "`snakemake` trains and draws it"
        )


def runs(config: dict) -> list[Run]:
    """Return all runs of the configuration, each once, in its order."""
    found = [
        Run(entry["corpus"], objective, languages, variant, seed)
        for entry in config["runs"]
        for objective in entry["objectives"]
        for languages in _languages(entry, objective)
        for variant in _variants(config, objective)
        for seed in config["seeds"]
    ]
    return list(dict.fromkeys(found))


def main_runs(config: dict) -> list[Run]:
    """Return the runs that stand for their objectives: `base`, or the first variant; first seed."""
    names = filter(None, config["main_runs"].values())
    variant, seed = _base_first(config)[0], config["seeds"][0]
    return [Run(*name.split("/"), variant, seed) for name in names]


def pair(config: dict, corpus: str, languages: str) -> str:
    """Return the pair (`en-de`) whose text a model of `languages` is trained on."""
    for entry in (entry for entry in config["runs"] if entry["corpus"] == corpus):
        if languages in entry.get("monolingual", {}):
            return entry["monolingual"][languages]
        for candidate in entry["pairs"]:
            sides = candidate.split("-")
            if languages in (*sides, "-".join(sides), "-".join(reversed(sides))):
                return candidate
    raise KeyError(f"no pair of {corpus} for {languages}")


def settings(config: dict, variant: str) -> dict:
    """Return the training settings of a variant that its optimizer has; `norm` by objective."""
    found = config["training"] | config["variants"][variant]
    others = OF_OPTIMIZER.keys() - {found["optimizer"]}
    unused = {key for optimizer in others for key in OF_OPTIMIZER[optimizer]}
    if not found.get("noise"):
        unused.add("noise")
    if not found["trapezoid"]:
        unused.add("curvature")
    if isinstance(found["norm"], str):
        found["norm"] = dict.fromkeys(OBJECTIVES, found["norm"])
    return {key: value for key, value in found.items() if key not in unused}


def hours(settings: dict, tokens_per_second: float) -> float:
    """Return how long a training of these settings takes at that speed."""
    return settings["total_updates"] * settings["tokens_per_update"] / tokens_per_second / 3600


def _variants(config: dict, objective: str) -> list[str]:
    """Return the variants that differ for an objective; of equal ones the first."""
    found = []
    for variant in _base_first(config):
        if not any(_are_same(config, objective, variant, other) for other in found):
            found.append(variant)
    return found


def _base_first(config: dict) -> list[str]:
    """Return the variants' names; Snakemake puts those of a --configfile before the others."""
    return sorted(config["variants"], key=lambda name: name != "base")


def _are_same(config: dict, objective: str, *variants: str) -> bool:
    """Tell whether two variants train the same models of an objective."""
    one, other = (settings(config, variant) for variant in variants)
    norms = {found["norm"][objective] for found in (one, other)}
    return one | {"norm": None} == other | {"norm": None} and len(norms) == 1


def _languages(entry: dict, objective: str) -> Iterator[str]:
    """Yield what an entry's models of an objective are trained for, possibly repeated."""
    if objective != "mt":
        yield from entry.get("languages", _all_languages(entry))
        return
    for pair in entry["pairs"]:
        yield pair
        if entry.get("directions", "both") == "both":
            yield "-".join(reversed(pair.split("-")))


def _all_languages(entry: dict) -> list[str]:
    """Return the languages of an entry's pairs."""
    return [language for pair in entry["pairs"] for language in pair.split("-")]


def _check_files(corpus: dict, key: str) -> None:
    """Check that the names of a corpus's files tell its languages apart."""
    for number, part in enumerate(corpus.get("parts", [])):
        key_of_part = f"{key}.parts[{number}]"
        if "files" in part:
            _check_pattern(part["files"], corpus["languages"], f"{key_of_part}.files")
        else:
            _check_pattern(part["url"], corpus["languages"], f"{key_of_part}.url")
    if "files" in corpus:
        _check_pattern(corpus["files"], corpus["languages"], f"{key}.files")


def _check_pattern(pattern: str | dict[str, str], languages: list[str], key: str) -> None:
    if isinstance(pattern, str) and "{language}" not in pattern:
        raise ConfigError(f"{key}: {pattern!r} is the same for both languages: put {{language}} in")
    if isinstance(pattern, dict) and (missing := set(languages) - set(pattern)):
        raise ConfigError(f"{key}.{min(missing)}: missing")


def _check_entry(entry: dict, key: str, corpora: dict) -> None:
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


def _check_variants(config: dict) -> None:
    """Check every variant with the settings that it has from `training`."""
    if config["training"]["optimizer"] == "adam" and "momentum" in config["training"]:
        raise ConfigError("training.momentum: only with optimizer: sgd")
    seen = []
    for variant in _base_first(config):
        changes = config["variants"][variant]
        key, training = f"variants.{variant}", config["training"] | changes
        for optimizer, names in OF_OPTIMIZER.items():
            wrong = [name for name in names if name in changes]
            if wrong and optimizer != training["optimizer"]:
                raise ConfigError(f"{key}.{wrong[0]}: only with optimizer: {optimizer}")
        if training["optimizer"] == "sgd" and "momentum" not in training:
            raise ConfigError(f"{key}.momentum: missing; sgd needs one, if only 0")
        if training["embed_dim"] % training["heads"]:
            place = key if changes.keys() & {"embed_dim", "heads"} else "training"
            raise ConfigError(f"{place}.embed_dim: not divisible by {training['heads']} heads")
        for other in seen:
            if all(_are_same(config, objective, variant, other) for objective in OBJECTIVES):
                raise ConfigError(f"{key}: overrides nothing that variants.{other} does not")
        seen.append(variant)


def _explain(error: jsonschema.ValidationError) -> str:
    """Return a schema violation as one line with the accepted keys, values or type."""
    key = error.json_path.removeprefix("$").removeprefix(".")
    match error.validator:
        case "additionalProperties":
            known = error.schema["properties"]
            unknown = next(name for name in error.instance if name not in known)
            return _refuse(key or "config", unknown, known, "key")
        case "required":
            missing = next(name for name in error.validator_value if name not in error.instance)
            return f"{key}.{missing}: missing".removeprefix(".")
        case "enum":
            return _refuse(key, error.instance, error.validator_value)
        case "type":
            kinds = error.validator_value
            kinds = kinds if isinstance(kinds, str) else " or ".join(kinds)
            return f"{key}: {error.instance!r} is not of type {kinds}{_number_hint(error.instance)}"
        case _:
            return f"{key}: {error.message}".replace("\n", " ")


def _number_hint(value) -> str:
    """Explain YAML's view of `1e-6`, which it takes for text."""
    try:
        return f" (in YAML: {float(value):.1e})" if isinstance(value, str) else ""
    except ValueError:
        return ""


def _refuse(key: str, value: str, accepted: Iterable, kind: str = "value") -> str:
    """Return one line that refuses `value`, names what is accepted and what is nearest."""
    accepted = [str(choice) for choice in accepted]
    near = difflib.get_close_matches(str(value), accepted, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{key}: unknown {kind} {value!r}{hint}; accepted: {', '.join(accepted)}"
