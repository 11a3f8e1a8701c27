# The configuration, checked, and what the rules share. `inputs` has their input functions.

import os
import shlex
import sys
from pathlib import Path

import yaml

HERE = workflow.current_basedir  # known while rules are read, not while they run


def source(path):
    """The path of a file of this workflow, given relative to this folder. As a module that is read
    from elsewhere, the workflow has its files in Snakemake's cache."""
    place = HERE.join(path).get_path_or_uri(secret_free=True)
    return os.path.relpath(place) if os.path.exists(place) else workflow.source_path(path)


def script_of(name):
    """A script of scripts/ for the directive `script`. Where files come from a Git repository,
    Snakemake 9.27 does not find one that is named relative to a rule; by its whole address it does.
    """
    path = f"../../scripts/{name}.py"
    place = HERE.join(path).get_path_or_uri(secret_free=True)
    return path if os.path.exists(place) else place


# A checkout uses its own packages, whatever is installed.
packages = HERE.join("../../src").get_path_or_uri(secret_free=True)
if os.path.isdir(packages):
    sys.path.insert(0, packages)
try:
    from closer_look import config as configuration
    from closer_look import config_check, config_file, dependencies
    from closer_look.jobs import slurm_outage, terminal
    from closer_look.inputs import PAIR, RUN, Inputs, files, languages
    from closer_look.vocabulary import OBJECTIVES
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is missing: pip install this repository with its extra [workflow]")
dependencies.pass_on_packages()
slurm_outage.mend()
if workflow.output_settings.log_handler_settings:  # a logger plugin: it may draw bars
    terminal.relay(logger.info)

with open(source("../schemas/config.schema.yaml"), encoding="utf-8") as file:
    schema = yaml.safe_load(file)
try:
    for file in workflow.configfiles:
        config_file.read(file)
    config_file.check_command_line(workflow.config_settings.config_args)
    config_file.adopt_types(config, workflow.config_settings.config)
    config_check.check(config, schema)
    config.update(config_check.normalised(config, schema))
except configuration.ConfigError as error:
    sys.exit(f"error in the configuration: {error}")
if workflow.is_main_process:
    for doubt in config_check.doubts(config):
        logger.warning(f"warning: in the configuration: {doubt}")

# Snakemake writes these paths into its shell commands as they are, and formats what comes out.
if os.path.exists(sys.executable):  # and is not quoted already
    sys.executable = shlex.quote(sys.executable)
for path in (Path.cwd(), Path(workflow.basedir)):
    if set("{}") & set(str(path)):
        sys.exit(f"error: {path}: Snakemake cannot work where a folder has {{ or }} in its name")

results = Path("results")
if results.is_symlink() and not results.exists():
    sys.exit(
        f"error: results: a link to {results.readlink()}, which is not there: make that folder"
    )
if results.exists() and not (results.is_dir() and os.access(results, os.W_OK)):
    sys.exit("error: results: not a folder that can be written to")

with open(source("../../resources/speeds.yaml"), encoding="utf-8") as file:
    speeds = yaml.safe_load(file)

inputs = Inputs(
    config, schema["properties"]["figures"]["properties"]["estimator"]["enum"], speeds["V100"]
)

LANGUAGE = schema["$defs"]["language"]["pattern"].strip("^$")


wildcard_constraints:
    corpus="|".join(config["corpora"]),
    objective="|".join(OBJECTIVES),
    languages=rf"{LANGUAGE}(-{LANGUAGE})?",
    source=LANGUAGE,
    target=LANGUAGE,
    language=LANGUAGE,
    variant="|".join(config["variants"]),
    seed=r"\d+",
    max_train=r"\d+|none",
    noise=r"[\d.e-]+|none",
    test_set=r"[\w./-]+",
    scope=rf"joint|{LANGUAGE}",
    suffix=r"(\.[a-z_]+)?",


def code(script):
    """The checksum of our code that a script in scripts/ imports: as a parameter of its rule, it
    makes the rule run again when that code changes. Trainings have none."""
    return dependencies.checksum(source(f"../../scripts/{script}.py"))


EXHIBITS = {}


def figure(name, shows, category="Beyond the paper", by_estimator=True, when=True):
    """The outputs of a figure's rule. It becomes part of `figures` (if there is something to draw:
    `when`), of the page and of Snakemake's report, with the caption in report/NAME.rst."""
    path = exhibit(name, "figures", by_estimator, "png", when)
    return {"pdf": f"{path}.pdf", "png": in_report(path, "png", name, shows, category)}


def table(name, shows, category="Beyond the paper", by_estimator=False, when=True):
    """The outputs of a table's rule, likewise."""
    path = exhibit(name, "tables", by_estimator, "csv", when)
    return {
        "csv": in_report(path, "csv", name, shows, category),
        "md": f"{path}.md",
        "tex": f"{path}.tex",
    }


def exhibit(name, folder, by_estimator, kind, when):
    """Register a figure or table, and return its path without ending. Its file NAME.ESTIMATOR is
    NAME by another estimator than the configuration's, if it is `by_estimator`."""
    path = f"results/{folder}/{name}"
    also = config["figures"]["also"] if by_estimator else []
    if when:
        paths = [f"{path}{suffix}.{kind}" for suffix in ["", *(f".{e}" for e in also)]]
        EXHIBITS.setdefault(name, []).extend(paths)
    return f"{path}{{suffix}}" if by_estimator else path


def in_report(path, kind, name, shows, category):
    """A file that Snakemake's report shows."""

    def labels(wildcards):
        drawn_by = inputs.estimator(wildcards) if "suffix" in wildcards.keys() else "all"
        return {"shows": shows, "estimator": drawn_by}

    return report(
        f"{path}.{kind}", caption=f"../report/{name}.rst", category=category, labels=labels
    )
