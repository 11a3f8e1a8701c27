"""The workflow as a module of another, from a folder and from a Git repository."""

import json
import shutil
import subprocess

import pytest
import yaml
from snakemake.utils import update_config

import opus_tree
import real_experiment
from fake_bin import ROOT, FakeBin, count, jobs, snakemake, workspace
from lca.analysis.logs import count_updates
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


def test_from_a_git_tag_it_splits_text_and_plans_the_same(others, tmp_path):
    shutil.copy(others[0] / "all.yaml", tmp_path)
    repository = tmp_path / "repository"
    subprocess.run(["git", "clone", "--quiet", ROOT, repository], check=True)
    subprocess.run([*GIT, "-C", repository, "tag", "v0"], check=True)
    place = f'gitfile("{repository}", path="workflow/Snakefile", tag="v0")'
    split = "results/data/toy/en-de/split.json"
    assert count(run(tmp_path, place, "--", split))["lca_split"] == 1
    assert json.loads((tmp_path / split).read_text())["sha256"]
    planned = jobs(run(tmp_path, place, "--dry-run"))
    assert len(planned["lca_train"]) == 3 and "lca_figure1" in planned


@pytest.mark.slow
def test_from_a_folder_it_really_trains(tmp_path):
    ours, folder = workspace(tmp_path / "ours"), tmp_path / "theirs"
    real_experiment.write_corpus(ours / "opus" / opus_tree.ROOT / "moses/de-en.txt.zip")
    config = yaml.safe_load((ours / "config/config.yaml").read_text())
    update_config(config, real_experiment.CONFIG | {"opus_mirror": str(ours / "opus")})
    update_config(config, {"training": {"total_updates": 6}})
    folder.mkdir()
    (folder / "all.yaml").write_text(yaml.safe_dump(config))
    resources = ("--set-resources", f"lca_train:max_tokens={real_experiment.MAX_TOKENS}")
    log = "results/runs/toy/clm/en/base/1/log.parquet"
    run(folder, repr(str(ours / "workflow/Snakefile")), *resources, "--", log)
    assert count_updates(folder / log) == 6
