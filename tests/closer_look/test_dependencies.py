"""What the jobs are given to import."""

import os
import subprocess
import sys

import pytest

from closer_look import dependencies

NAMES = {"lca", "closer_look"}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder of packages with ours, as links, and another's."""
    monkeypatch.chdir(tmp_path)
    site = tmp_path / "lib/site-packages"
    site.mkdir(parents=True)
    for name in NAMES:
        (site / name).symlink_to(dependencies.PACKAGES / name)
    (site / "foreign.py").touch()
    return site


def found(folder, module):
    """Tell whether a bare Python that is given the folder finds a module."""
    command = [
        sys.executable,
        "-S",
        "-c",
        f"import importlib.util as u; assert u.find_spec({module!r})",
    ]
    environment = {"PYTHONPATH": str(folder)}
    return not subprocess.run(command, env=environment, capture_output=True).returncode


def test_of_an_installation_only_our_packages_are_passed_on(installed, monkeypatch):
    monkeypatch.setattr(dependencies, "PACKAGES", installed)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    dependencies.pass_on_packages()
    folder, elsewhere = os.environ["PYTHONPATH"].split(os.pathsep)
    assert found(installed, "foreign") and not found(folder, "foreign")
    assert all(found(folder, name) for name in NAMES) and elsewhere == "elsewhere"


def test_a_checkout_is_passed_on_itself():
    assert dependencies.alone(dependencies.PACKAGES) == dependencies.PACKAGES


def test_links_follow_another_installation(installed, tmp_path):
    folder = dependencies.alone(tmp_path / "old/site-packages")
    assert dependencies.alone(folder) == dependencies.alone(installed) == folder
    assert {path.name: path.readlink().parent for path in folder.iterdir()} == dict.fromkeys(
        NAMES, installed
    )
