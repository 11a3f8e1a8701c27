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
    from closer_look import config_check, config_file, dependencies, folders
    from closer_look.exhibits import Exhibits
    from closer_look.jobs import slurm_outage, terminal
    from closer_look.jobs.job import InputError
    from closer_look.inputs import PAIR, RUN_FOLDER, Inputs, files, languages
    from closer_look.vocabulary import OBJECTIVES
except ModuleNotFoundError as error:
    sys.exit(
        f"error: {error.name} is missing: pip install this repository with its extra [workflow]"
    )
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

# Snakemake writes this path into its shell commands as it is.
if os.path.exists(sys.executable):  # and is not quoted already
    sys.executable = shlex.quote(sys.executable)
try:
    folders.check([Path.cwd(), Path(workflow.basedir)])
except InputError as error:
    sys.exit(f"error: {error}")

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


exhibits = Exhibits(inputs, report)
figure, table = exhibits.figure, exhibits.table
