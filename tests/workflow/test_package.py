"""What `pip install` of the source distribution or the wheel brings, away from the checkout."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import PathDistribution

import pytest

from fake_bin import ROOT

BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"

USE = """
import sys
import torch
import lca, closer_look

layer = torch.nn.TransformerEncoderLayer(8, 2, 16)
optimizer = lca.AdamW(layer.parameters())
with lca.record(layer, optimizer, "run") as recording:
    for _ in range(3):
        layer(torch.ones(4, 1, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
print(len(lca.read(recording.log).facts), lca.__file__)
assert not {"fairseq", "snakemake", "matplotlib"} & sys.modules.keys()
"""


@pytest.fixture(scope="module", params=["sdist", "wheel"])
def installed(request, tmp_path_factory):
    """A folder of packages into which pip has installed nothing but ours."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
    )
    python = (sys.executable, "-W", "ignore")
    build = BUILD.format(request.param)
    (folder / "dist").mkdir()
    subprocess.run([*python, "-c", build, "dist"], cwd=folder, check=True, capture_output=True)
    (built,) = folder.glob("dist/*")
    pip = (*python, "-m", "pip", "install", "--no-deps", "--no-build-isolation")
    subprocess.run([*pip, "--target", folder / "site", built], check=True, capture_output=True)
    return folder / "site"


def test_every_file_of_the_packages_is_installed(installed):
    tracked = subprocess.check_output(["git", "-C", ROOT, "ls-files", "src"], text=True).split()
    ours = {name.removeprefix("src/") for name in tracked}
    found = {str(path.relative_to(installed)) for path in installed.rglob("*")}
    assert not ours - found


def test_it_asks_for_neither_the_workflow_nor_fairseq(installed):
    (path,) = installed.glob("*.dist-info")
    required = [line for line in PathDistribution(path).requires if "extra ==" not in line]
    assert {line.split(">")[0] for line in required} == {
        *("numpy", "pandas", "pyarrow", "scipy", "torch"),
    }


def test_it_measures_a_training(installed, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    printed = subprocess.check_output(
        [sys.executable, "-c", USE], cwd=tmp_path, env=environment, text=True
    )
    rows, place = printed.split()
    assert int(rows) > 0 and place.startswith(str(installed))
