"""What is planned where nothing is done yet."""

import re

import pytest

from fake_bin import ROOT, FakeBin, count, jobs, plan, snakemake
from toy_experiment import (
    BPE,
    DATA,
    OF_ALL_RUNS,
    OF_MAIN_RUNS,
    WITHOUT_ESTIMATOR,
    logs,
    toy_workspace,
)

FIGURE = "results/figures/figure1.pdf"


def test_the_paper_from_nothing(paper):
    status, output = snakemake(paper, "--dry-run")
    assert status == 0, output
    expected = dict.fromkeys(DATA, 4) | dict(learn_bpe=8, binarise=8, train=15, aggregate=15)
    expected |= dict(score=15, download_test_set=6)  # three pairs both ways
    expected |= dict(table3=1)
    # by the estimator of the paper, and by another
    expected |= dict.fromkeys(OF_MAIN_RUNS | OF_ALL_RUNS, 2) | dict.fromkeys(WITHOUT_ESTIMATOR, 1)
    assert expected.items() <= count(output).items()
    assert not (paper / "results").exists()


TRAININGS = {
    "config": 15,
    "controls": 10,
    "data-size": 9,
    "demo": 6,
    "domain": 6,
    "gpu-quick": 3,
    "ground-truth": 3,
    "languages": 23,
    "laptop": 3,
    "noise": 12,
    "norm": 6,
    "optimizer": 6,
    "regularization": 12,
    "scale": 45,
    "seeds": 15,
}


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_is_a_plan(paper, path, capfd):
    plan(paper, path, target="all")
    planned = count(capfd.readouterr().err)
    assert planned["train"] == TRAININGS[path.stem]
    # Drawn where every update is probed.
    assert planned.get("agreement", 0) == (path.stem == "ground-truth")


@pytest.mark.parametrize(
    ("names", "trainings"),
    [
        (["controls", "laptop"], 10),
        (["norm", "laptop"], 6),
        (["seeds", "laptop"], 15),
        (["laptop", "scale"], 9),
    ],
    ids=["controls", "norm", "seeds", "scale"],
)
def test_configurations_that_go_together_are_a_plan(paper, names, trainings, capfd):
    plan(paper, *(ROOT / f"config/{name}.yaml" for name in names), target="models")
    assert count(capfd.readouterr().err)["train"] == trainings


def test_figure_1_needs_three_trainings_and_one_pair(paper):
    status, output = snakemake(paper, "--dry-run", FIGURE)
    assert status == 0, output
    planned = jobs(output)
    assert planned["train"] == logs("europarl", "mlm/en", "clm/en", "mt/en-de")
    data = {path for rule in DATA | BPE for path in planned[rule]}
    assert all(path.startswith("results/data/europarl/en-de/") for path in data)
    assert {rule: len(planned[rule]) for rule in DATA} == dict.fromkeys(DATA, 1)


def test_numbers_on_the_command_line_are_numbers(paper):
    status, output = snakemake(paper, "--dry-run", "--config", "seeds=[1,2]", "--", FIGURE)
    assert status == 0, output
    status, output = snakemake(paper, "--dry-run", "--config", "seeds=[1e0]", "--", FIGURE)
    assert "seeds[0]: '1e0' is not of type integer (in YAML: 1)" in output


def test_a_project_whose_path_has_a_blank_works(tmp_path):
    folder = toy_workspace(tmp_path / "My Project's")
    python = FakeBin(folder / ".venv").python
    target = "results/data/toy/en-de/split.json"
    status, output = snakemake(folder, "--configfile", "toy.yaml", "--", target, python=python)
    assert status == 0, output


def test_what_is_analysed_or_drawn_depends_on_the_code_that_it_imports():
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    scripts = re.findall(r'script_of\("((?:analysis|figures)/\w+|publishing/report)"\)', rules)
    assert len(scripts) > 20
    assert [name for name in scripts if f'code=code("{name}")' not in rules] == []
