"""The configuration and the runs it asks for. Knows nothing of files or Snakemake."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .jobs.job import InputError
from .trees import Tree
from .vocabulary import OBJECTIVES

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

WITHOUT_CHOICE = {"sample_break": {"mt": "eos"}}
"""What an objective has that is no setting of it: a translation is of one sentence."""

NORMS_RECORDED = ("mlm", "clm", "mt")
"""The objectives whose norms every training is known by, as when there were no others."""


class ConfigError(InputError):
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
        key: (WITHOUT_CHOICE.get(key, {}) | values[key]).get(run.objective)
        if key in BY_OBJECTIVE
        else values.get(key)
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
    return next(other for other in variants(config) if are_same(config, objective, variant, other))


def are_same(config: Tree, objective: str, *pair: str) -> bool:
    """Tell whether two variants train the same models of an objective."""
    one, other = (of_objective(settings(config, variant), objective) for variant in pair)
    norms = {each["norm"][objective] for each in (one, other)}
    return one | {"norm": None} == other | {"norm": None} and len(norms) == 1


def _languages(entry: Tree, objective: str) -> Iterator[str]:
    """Yield what an entry's models of an objective are trained for, possibly repeated."""
    if objective != "mt":
        yield from entry.get("languages", all_languages(entry))
        return
    for pair in entry["pairs"]:
        yield pair
        if entry.get("directions", "both") == "both":
            yield "-".join(reversed(pair.split("-")))


def all_languages(entry: Tree) -> list[str]:
    """Return the languages of an entry's pairs."""
    return [language for pair in entry["pairs"] for language in pair.split("-")]
