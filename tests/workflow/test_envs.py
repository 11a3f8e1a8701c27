"""The environments of the stages for conda hold the versions of the lock for pip."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fake_bin import ROOT

ENVS = sorted(path.name for path in (ROOT / "envs").glob("*.yaml"))
REQUIREMENT = re.compile(r"([\w.-]+)==(\S+)")


def locked():
    return dict(REQUIREMENT.findall((ROOT / "envs/requirements.txt").read_text()))


def packages(name):
    """The requirements of an environment."""
    *_, last = yaml.safe_load((ROOT / "envs" / name).read_text())["dependencies"]
    return last["pip"]


@pytest.mark.parametrize("name", ENVS)
def test_conda_has_the_versions_that_pip_has(name):
    lock = locked()
    for requirement in packages(name):
        match = REQUIREMENT.fullmatch(requirement)
        assert match, f"{requirement}: not pinned"
        package, version = match.groups()
        assert lock.get(package) == version, requirement


def asked_for(name):
    """The requirements of a list; those of the extra `workflow` are in pyproject.toml."""
    lines = (ROOT / "envs" / name).read_text().splitlines()
    asked = [line for line in lines if line and not line.startswith("#")]
    if name == "requirements.in":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        asked.remove("..[workflow]")
        asked += project["dependencies"]
        asked += chain.from_iterable(project["optional-dependencies"].values())
    return [text for text in asked if not text.startswith("lca-closer-look")]


@pytest.mark.parametrize("name", ["requirements.in", "requirements-dev.in"])
def test_what_is_asked_for_is_locked(name):
    lock = locked() | dict(REQUIREMENT.findall((ROOT / "envs/requirements-dev.txt").read_text()))
    lock = {canonicalize_name(package): version for package, version in lock.items()}
    for requirement in map(Requirement, asked_for(name)):
        version = lock.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), requirement


def test_what_the_workflow_imports_is_asked_for():
    """Somebody else's workflow has nothing but the extra and what that brings by name."""
    asked = {canonicalize_name(Requirement(text).name) for text in asked_for("requirements.in")}
    distributions = packages_distributions()
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]:
        for module in third_party(path) - {"closer_look", "lca", "fairseq_plugin", "scripts"}:
            names = {canonicalize_name(name) for name in distributions.get(module, [module])}
            assert names & (asked | OF_OTHERS), f"{path}: {module}"


OF_OTHERS = {"triton", "transformers", "lightning", "omegaconf", "urllib3"}
"""Of torch for CUDA; of who calls `lca` from there, twice; of fairseq; of requests."""


def third_party(path):
    """The names of the packages that a file imports, but for Python's own."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module)
    return {module.split(".")[0] for module in modules} - sys.stdlib_module_names


def test_every_rule_with_a_script_has_an_environment():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in path.read_text().split("\nrule ")[1:]:
            if "script:" in rule:
                (name,) = re.findall(r'conda:\s+"../../envs/([\w.]+)"', rule)
                assert name in ENVS
