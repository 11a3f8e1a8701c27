"""The environments of the stages for conda hold the versions of the lock for pip."""

import re

import pytest
import yaml

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


@pytest.mark.parametrize("name", ["requirements.in", "requirements-dev.in"])
def test_what_is_asked_for_is_locked(name):
    text = (ROOT / "envs" / name).read_text()
    asked = [line.split("#")[0].strip() for line in text.splitlines()]
    lock = locked() | dict(REQUIREMENT.findall((ROOT / "envs/requirements-dev.txt").read_text()))
    for requirement in filter(None, asked):
        package, _, version = requirement.partition("==")
        package = package.split("[")[0]
        assert package in lock, package
        assert version in ("", lock[package])


def test_every_rule_with_a_script_has_an_environment():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in path.read_text().split("\nrule ")[1:]:
            if "script:" in rule:
                (name,) = re.findall(r'conda:\s+"../../envs/([\w.]+)"', rule)
                assert name in ENVS
