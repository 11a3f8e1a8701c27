"""The workflow as a module of another, from a folder and from a Git repository."""

import subprocess

import pytest
import yaml
from snakemake.utils import update_config

from fake_bin import ROOT, FakeBin, count, jobs, snakemake
from toy_experiment import TOY, toy_workspace

SNAKEFILE = """
configfile: "all.yaml"

module lca:
    snakefile: {snakefile}
    config: config

use rule * from lca as lca_*
"""
GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Somebody else's workflow beside a copy of ours, with the toy's text; without Snakefile."""
    ours = toy_workspace(tmp_path_factory.mktemp("ours"))
    folder = tmp_path_factory.mktemp("theirs")
    config = yaml.safe_load((ours / "config/config.yaml").read_text())
    update_config(config, TOY | {"opus_mirror": str(ours / "opus")})
    (folder / "all.yaml").write_text(yaml.safe_dump(config))
    return folder, ours


def run(folder, snakefile, *arguments, **options):
    (folder / "Snakefile").write_text(SNAKEFILE.format(snakefile=snakefile))
    status, output = snakemake(folder, *arguments, **options)
    assert status == 0, output
    return output


def test_from_a_folder_all_of_it_runs(others, tmp_path):
    folder, ours = others
    snakefile = repr(str(ours / "workflow/Snakefile"))
    output = run(folder, snakefile, python=FakeBin(tmp_path / "venv").python)
    ran = count(output)
    assert (ran["lca_train"], ran["lca_aggregate"], ran["lca_figure1"]) == (3, 3, 1)
    assert (folder / "results/figures/figure1.pdf").exists()
    assert (folder / "results/report.html").exists()
    assert not (ours / "results").exists()


def test_from_a_git_tag_it_plans_the_same(others):
    folder, _ = others
    repository = folder / "repository"
    subprocess.run(["git", "clone", "--quiet", ROOT, repository], check=True)
    subprocess.run([*GIT, "-C", repository, "tag", "v0"], check=True)
    place = f'gitfile("{repository}", path="workflow/Snakefile", tag="v0")'
    planned = jobs(run(folder, place, "--dry-run", "--forceall"))
    assert len(planned["lca_train"]) == 3 and "lca_figure1" in planned
