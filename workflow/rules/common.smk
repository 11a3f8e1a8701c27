# The configuration, checked, and the places of everything.

import os
from pathlib import Path

import yaml

# A checkout's jobs, and the tools that they start, use its own packages, whatever is installed.
packages = Path(workflow.basedir).parent / "src"
sys.path.insert(0, str(packages))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(packages), os.environ.get("PYTHONPATH")])
)

from closer_look import config as experiment
import sacrebleu
from closer_look.jobs.job import InputError
from closer_look.data.patterns import fill

with open(f"{workflow.basedir}/schemas/config.schema.yaml", encoding="utf-8") as file:
    schema = yaml.safe_load(file)
try:
    experiment.check(config, schema)
except experiment.ConfigError as error:
    sys.exit(f"error in the configuration: {error}")

results = Path("results")
if results.exists() and not (results.is_dir() and os.access(results, os.W_OK)):
    sys.exit("error: results: not a folder that can be written to")

with open(f"{workflow.basedir}/../resources/speeds.yaml", encoding="utf-8") as file:
    speeds = yaml.safe_load(file)

RUNS = experiment.runs(config)
LANGUAGE = r"[a-z]{2,3}(_[A-Z]{2})?"

PAIR = "results/data/{corpus}/{source}-{target}"
RUN = "results/runs/{corpus}/{objective}/{languages}/{variant}/{seed}"


wildcard_constraints:
    corpus="|".join(config["corpora"]),
    objective="mlm|clm|mt",
    languages=rf"{LANGUAGE}(-{LANGUAGE})?",
    source=LANGUAGE,
    target=LANGUAGE,
    language=LANGUAGE,
    variant="|".join(config["variants"]),
    seed=r"\d+",
    max_train=r"\d+|none",
    noise=r"[\d.e-]+|none",
    test_set=r"[^.]+",
    scope=rf"joint|{LANGUAGE}",
    suffix=r"(\.[a-z_]+)?",


def of_runs(name):
    """The file of this name of every run."""
    return [f"{RUN}/{name}".format(**run._asdict()) for run in RUNS]


def corpus(wildcards):
    """The corpus's entry in the configuration."""
    return {"format": "moses"} | config["corpora"][wildcards.corpus]


def origin(wildcards):
    """What of the corpus's entry says where its text comes from."""
    keys = ("source", "name", "version", "format", "parts", "files")
    return {key: value for key, value in corpus(wildcards).items() if key in keys}


def raw(wildcards):
    """What a corpus's text is read from: the user's own files, or the folder of the download."""
    entry = corpus(wildcards)
    if entry["source"] != "local":
        return {"folder": f"{PAIR}/download".format(**wildcards)}
    pair = (wildcards.source, wildcards.target)
    files = [fill(entry["files"], language, *pair) for language in pair]
    missing = [file for file in files if not Path(file).is_file()]
    if missing and not Path(f"{PAIR}/read.json".format(**wildcards)).exists():
        sys.exit(f"error: corpora.{wildcards.corpus}.files: {missing[0]}: no such file")
    return {"files": files}


def check_sources(jobs):
    """Check what the jobs are going to fetch, as `check_sources` the module does."""
    fetching = [
        job.wildcards
        for job in jobs
        if job.rule.name == "download"
        or (job.rule.name == "read" and corpus(job.wildcards)["source"] == "local")
    ]
    if not fetching:
        return
    try:
        from closer_look.data.check_sources import Need, check

        needs = [Need(w.corpus, corpus(w), w.source, w.target) for w in fetching]
        room_in = results if results.exists() else Path()
        check(needs, config["opus_mirror"], config["opus_database"], room_in)
    except ModuleNotFoundError as error:  # where every rule has an environment of its own
        print(f"sources are not checked in advance: {error.name} is missing", file=sys.stderr)
    except InputError as error:
        sys.exit(f"error: {error}")


def text_folder(wildcards):
    """The data of the pair whose text a run is trained on."""
    try:
        pair = experiment.pair(config, wildcards.corpus, wildcards.languages)
    except KeyError as error:  # Snakemake would wrap any other exception into ten lines
        sys.exit(f"error: {error.args[0]}: add one to `runs` in the configuration")
    return f"results/data/{wildcards.corpus}/{pair}"


def scope(wildcards):
    """The scope of a run's data: joint for translation, monolingual for a language model."""
    return "joint" if wildcards.objective == "mt" else wildcards.languages


def dataset(wildcards):
    """The binarised data of a run; a variant of the training text is made from its base's."""
    folder = text_folder(wildcards)
    settings = experiment.settings(config, wildcards.variant)
    size, noise = (settings.get(key, "none") for key in ("max_train", "noise"))
    if (size, noise) == ("none", "none"):
        return f"{folder}/bin/{scope(wildcards)}"
    return f"{folder}/altered/{scope(wildcards)}/max_train-{size}/noise-{noise}"


def spm_model(wildcards):
    """The SentencePiece model that a run's data was encoded with."""
    return f"{text_folder(wildcards)}/bpe/{scope(wildcards)}/spm.model"


def test_sets(wildcards):
    """What a run is scored on: its corpus's own split, and of the others those with its pair."""
    own = ["test"] if corpus(wildcards)["test"] else []
    pairs = {
        name: sacrebleu.get_langpairs_for_testset(name)
        for name in corpus(wildcards).get("test_sets", [])
    }
    return own + [name for name in pairs if wildcards.languages in pairs[name]]


def scored(side):
    """An input function: one side, 0 or -1, of the test sets; that of a language model is both."""

    def texts(wildcards):
        language = wildcards.languages.split("-")[side]
        return [
            (
                f"{text_folder(wildcards)}/split/test.{language}.gz"
                if name == "test"
                else f"results/test_sets/{name}/{wildcards.languages}/{language}.gz"
            )
            for name in test_sets(wildcards)
        ]

    return texts


def languages(wildcards):
    """The languages of a scope."""
    if wildcards.scope == "joint":
        return [wildcards.source, wildcards.target]
    return [wildcards.scope]


def splits(wildcards):
    """The parts of a corpus that are not empty."""
    return ["train", *(split for split in ("valid", "test") if corpus(wildcards)[split])]


def parts(wildcards):
    """The text of a scope, as train_source, train_target, valid_source and so on."""
    sides = list(zip(("source", "target"), languages(wildcards)))
    return {
        f"{split}_{side}": f"{PAIR}/split/{split}.{language}.gz".format(**wildcards)
        for side, language in sides
        for split in splits(wildcards)
    }


def minutes(wildcards):
    """The time limit of a training where there is one: the estimate for the paper's card, at least
    an hour and at most its 48, which many clusters allow."""
    settings = experiment.settings(config, wildcards.variant)
    estimate = experiment.hours(settings, speeds["V100"][wildcards.objective])
    return round(60 * min(max(estimate, 1), 48))


def estimator(wildcards):
    """The estimator that the suffix of a figure names, or the configuration's."""
    name = wildcards.suffix.lstrip(".") or config["figures"]["estimator"]
    accepted = schema["properties"]["figures"]["properties"]["estimator"]["enum"]
    if name not in accepted:
        sys.exit(f"error: there is no estimator {name!r}; accepted: {', '.join(accepted)}")
    try:
        experiment.check_recorded(config, name)
    except experiment.ConfigError as error:
        sys.exit(f"error: {error}")
    return name


def tables(name, runs):
    """The table `name` of each of the runs."""
    return [f"{RUN}/{name}.parquet".format(**run._asdict()) for run in runs]


def tables_by_estimator(name, runs):
    """The same as an input function of figures whose suffix may name an estimator."""
    paths = tables(name, runs)
    return lambda wildcards: paths if estimator(wildcards) else []


def labels(figure):
    """The labels of a figure or table in Snakemake's report."""
    return lambda wildcards: {"shows": figure, "estimator": estimator(wildcards)}
