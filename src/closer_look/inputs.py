"""The rules' input functions: which files a target is made from, given its wildcards.

Paths are relative to the working directory. What the user can mend ends Snakemake with one line:
any other exception it would wrap into ten.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn, Protocol

from . import config as configuration
from .config import Run
from .data.patterns import fill
from .data.test_sets import has_pair
from .jobs import cards
from .jobs.job import InputError
from .training.micro_batches import check_max_tokens
from .trees import Tree

PAIR = "results/data/{corpus}/{source}-{target}"
RUN_FOLDER = "results/runs/{corpus}/{objective}/{languages}/{variant}/{seed}"

ORIGIN = ("source", "name", "version", "format", "parts", "files")
"""The keys of a corpus that say where its text comes from."""


class Wildcards(Protocol):
    """A job's wildcards, by their names; Snakemake's own class says nothing of types."""

    def __getattr__(self, name: str) -> str: ...

    def __getitem__(self, name: str) -> str: ...

    def keys(self) -> Iterable[str]:
        """Return the names."""


class Rule(Protocol):
    """A rule of Snakemake."""

    name: str


class Job(Protocol):
    """A job of Snakemake."""

    rule: Rule
    wildcards: Wildcards
    resources: Mapping[str, object]


def fail(message: object) -> NoReturn:
    """End Snakemake with one line."""
    sys.exit(f"error: {message}")


def files(name: str, runs: Iterable[Run]) -> list[str]:
    """Return the file of this name of each of the runs."""
    return [f"{RUN_FOLDER}/{name}".format(**run._asdict()) for run in runs]


class Inputs:
    """The input functions under a configuration, which has been checked.

    `estimators` are those that a figure may be drawn by, `speeds` the tokens per second of each
    objective on the paper's card.
    """

    def __init__(self, config: Tree, estimators: list[str], speeds: dict[str, float]) -> None:
        self.config = config
        self.estimators = estimators
        self.speeds = speeds
        self.runs = configuration.runs(config)
        self.main_runs = configuration.main_runs(config)
        """Those that stand for their objectives, of the first seed."""
        self.main_runs_of_all_seeds = self._of_all_seeds(self.main_runs)
        self.main_runs_by_variant = {
            variant: configuration.main_runs(config, variant)
            for variant in configuration.variants(config)
        }
        """Those of every variant, of the first seed; some are the same."""

        self.probed_throughout = configuration.probed_throughout(config)
        """Those whose every update is probed."""

    @property
    def models_by_variant(self) -> dict[str, list[str]]:
        """Their names without the seed, by variant."""
        return {
            variant: ["/".join(run[:-1]) for run in runs]
            for variant, runs in self.main_runs_by_variant.items()
        }

    def _of_all_seeds(self, runs: Iterable[Run]) -> list[Run]:
        return [run._replace(seed=seed) for run in runs for seed in self.config["seeds"]]

    @property
    def main_runs_of_all_variants(self) -> list[Run]:
        """Those of every variant, with all seeds, each once."""
        return self._of_all_seeds(configuration.all_main_runs(self.config))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each corpus and pair that a run is trained on, once."""
        config = self.config
        used = {(r.corpus, configuration.pair(config, r.corpus, r.languages)) for r in self.runs}
        return sorted(used)

    def corpus(self, wildcards: Wildcards) -> Tree:
        """Return the corpus's entry in the configuration."""
        entry: Tree = self.config["corpora"][wildcards.corpus]
        return {"format": "moses"} | entry

    def origin(self, wildcards: Wildcards) -> Tree:
        """Return what of the corpus's entry says where its text comes from."""
        return {key: value for key, value in self.corpus(wildcards).items() if key in ORIGIN}

    def raw(self, wildcards: Wildcards) -> Tree:
        """What a corpus's text is read from: the user's own files, or the download's folder."""
        entry = self.corpus(wildcards)
        if entry["source"] != "local":
            return {"folder": f"{PAIR}/download".format(**wildcards)}
        pair = (wildcards.source, wildcards.target)
        paths = [fill(entry["files"], language, *pair) for language in pair]
        missing = [file for file in paths if not Path(file).is_file()]
        if missing and not Path(f"{PAIR}/read.json".format(**wildcards)).exists():
            fail(f"corpora.{wildcards.corpus}.files: {missing[0]}: no such file")
        return {"files": paths}

    def check_sources(self, jobs: Iterable[Job]) -> None:
        """Check what the jobs are going to fetch; see `data.check_sources`."""
        fetching = [
            job.wildcards
            for job in jobs
            if job.rule.name == "download"
            or (job.rule.name == "read" and self.raw_is_local(job.wildcards))
        ]
        if not fetching:
            return
        try:
            from .data.check_sources import Need, check

            needs = [Need(w.corpus, self.corpus(w), w.source, w.target) for w in fetching]
            results = Path("results")
            room_in = results if results.exists() else Path()
            check(needs, self.config["opus_mirror"], self.config["opus_database"], room_in)
        except ModuleNotFoundError as error:  # where every rule has an environment of its own
            print(f"sources are not checked in advance: {error.name} is missing", file=sys.stderr)
        except InputError as error:
            fail(error)

    def check_trainings(self, jobs: Iterable[Job], is_local: bool) -> None:
        """Check what the trainings among the jobs are given: tokens and, on this machine, a card.

        `is_local` tells whether they run here.
        """
        trainings = [job for job in jobs if job.rule.name == "train"]
        try:
            for job in trainings:
                devices = job.resources.get("gpu")
                check_max_tokens(
                    job.wildcards.objective,
                    self.settings(job.wildcards),
                    job.resources.get("max_tokens"),
                    devices if isinstance(devices, int) else None,
                )
            needed = {self.settings(job.wildcards)["precision"] for job in trainings} - {"fp32"}
            if needed and is_local:
                cards.check_precision(min(needed), cards.is_there())
        except ModuleNotFoundError:  # PyTorch, where every rule has an environment of its own
            pass
        except InputError as error:
            fail(error)

    def raw_is_local(self, wildcards: Wildcards) -> bool:
        """Tell whether a corpus is of the user's own files."""
        return bool(self.corpus(wildcards)["source"] == "local")

    def text_folder(self, wildcards: Wildcards | Run) -> str:
        """Return the data of the pair whose text a run is trained on."""
        try:
            pair = configuration.pair(self.config, wildcards.corpus, wildcards.languages)
        except KeyError as error:
            fail(f"{error.args[0]}: add one to `runs` in the configuration")
        return f"results/data/{wildcards.corpus}/{pair}"

    def dataset(self, wildcards: Wildcards | Run) -> str:
        """The binarised data of a run; a variant of the training text is made from its base's."""
        folder, scope = self.text_folder(wildcards), _scope(wildcards)
        settings = configuration.settings(self.config, wildcards.variant)
        size, noise = (settings.get(key, "none") for key in ("max_train", "noise"))
        if (size, noise) == ("none", "none"):
            return f"{folder}/bin/{scope}"
        return f"{folder}/altered/{scope}/max_train-{size}/noise-{noise}"

    def dataset_manifest(self, wildcards: Wildcards) -> str:
        """The manifest of a run's binarised data."""
        return f"{self.dataset(wildcards)}.json"

    def spm_model(self, wildcards: Wildcards) -> str:
        """The SentencePiece model that a run's data was encoded with."""
        return f"{self.text_folder(wildcards)}/bpe/{_scope(wildcards)}/spm.model"

    def test_sets(self, wildcards: Wildcards) -> list[str]:
        """Return what a run is scored on: its corpus's own split, and others with its pair."""
        entry = self.corpus(wildcards)
        own = ["test"] if entry["test"] else []
        others = entry.get("test_sets", [])
        return own + [name for name in others if has_pair(name, wildcards.languages)]

    def test_sources(self, wildcards: Wildcards) -> list[str]:
        """The test sets' texts that a translation starts from; of a language model its own."""
        return self._test_texts(wildcards, wildcards.languages.split("-")[0])

    def test_references(self, wildcards: Wildcards) -> list[str]:
        """The test sets' texts that a model is held against."""
        return self._test_texts(wildcards, wildcards.languages.split("-")[-1])

    def _test_texts(self, wildcards: Wildcards, language: str) -> list[str]:
        return [
            f"{self.text_folder(wildcards)}/split/test.{language}.gz"
            if name == "test"
            else f"results/test_sets/{name}/{wildcards.languages}/{language}.gz"
            for name in self.test_sets(wildcards)
        ]

    def parts(self, wildcards: Wildcards) -> dict[str, str]:
        """The text of a scope, as train_source, train_target, valid_source and so on."""
        entry = self.corpus(wildcards)
        splits = ["train", *(split for split in ("valid", "test") if entry[split])]
        sides = zip(("source", "target"), languages(wildcards), strict=False)
        return {
            f"{split}_{side}": f"{PAIR}/split/{split}.{language}.gz".format(**wildcards)
            for side, language in sides
            for split in splits
        }

    def settings(self, wildcards: Wildcards) -> Tree:
        """Return the settings of a run's training."""
        settings = configuration.settings(self.config, wildcards.variant)
        return configuration.of_objective(settings, wildcards.objective)

    def minutes(self, wildcards: Wildcards) -> int:
        """Return the time limit of a training, where there is one.

        It is the estimate for the paper's card, at least an hour and at most its 48, which many
        clusters allow.
        """
        settings = configuration.settings(self.config, wildcards.variant)
        estimate = configuration.hours(settings, self.speeds[wildcards.objective])
        return round(60 * min(max(estimate, 1), 48))

    def agreement(self, wildcards: Wildcards) -> list[str]:
        """The tables of the runs that have a truth to compare the estimators with."""
        if not self.probed_throughout:
            fail(
                "no run is probed at every update; set `training.probe.every: 1`, as does "
                "config/ground-truth.yaml"
            )
        return files("agreement.parquet", self.probed_throughout)

    def estimator(self, wildcards: Wildcards) -> str:
        """Return the estimator that the suffix of a figure names, or the configuration's."""
        name = wildcards.suffix.lstrip(".") or self.config["figures"]["estimator"]
        if name not in self.estimators:
            fail(f"there is no estimator {name!r}; accepted: {', '.join(self.estimators)}")
        try:
            configuration.check_recorded(self.config, name)
        except configuration.ConfigError as error:
            fail(error)
        return name

    def by_estimator(self, name: str, runs: Iterable[Run]) -> Callable[[Wildcards], list[str]]:
        """Return `files` as an input function of a figure whose suffix may name an estimator."""
        paths = files(name, runs)
        return lambda wildcards: paths if self.estimator(wildcards) else []


def languages(wildcards: Wildcards) -> list[str]:
    """Return the languages of a scope: both of translation, one of a language model."""
    if wildcards.scope == "joint":
        return [wildcards.source, wildcards.target]
    return [wildcards.scope]


def _scope(wildcards: Wildcards | Run) -> str:
    """Return the scope of a run's data: joint for translation, its language otherwise."""
    return "joint" if wildcards.objective == "mt" else wildcards.languages
