"""What is wrong is one line, as early as can be."""

import pandas as pd
import pytest
import yaml

import opus_tree
from closer_look.jobs import cards
from fake_bin import count, snakemake, workspace
from toy_experiment import ENTRY, TOY, archive, toy_workspace, write_corpus


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainig": {"lr": 1}}, "config: unknown key 'trainig' (did you mean training?)"),
        ({"training": {"lr": "5e-4"}}, "training.lr: '5e-4' is not of type number"),
        ({"runs": [ENTRY | {"pairs": ["en-xx"]}]}, "runs[0].pairs: en-xx: unknown language 'xx'"),
    ],
    ids=["key", "type", "language"],
)
def test_a_mistake_in_the_configuration_is_one_line_before_anything_is_done(
    tmp_path, change, message
):
    workspace(tmp_path)
    for name, content in (("toy.yaml", TOY), ("change.yaml", change)):
        (tmp_path / name).write_text(yaml.safe_dump(content))
    status, output = snakemake(tmp_path, "--configfile", "toy.yaml", "change.yaml")
    assert status != 0
    (error,) = (line for line in output.splitlines() if "error" in line.lower())
    assert error.startswith(f"error in the configuration: {message}")
    assert "Traceback" not in output and "job" not in output
    assert not (tmp_path / "results").exists()


def test_a_key_given_twice_is_refused_with_its_file_and_lines(tmp_path):
    workspace(tmp_path)
    (tmp_path / "twice.yaml").write_text("seeds: [1]\ntraining: {lr: 0.1}\nseeds: [2]\n")
    status, output = snakemake(tmp_path, "--dry-run", "--configfile", "twice.yaml")
    assert status != 0
    (error,) = (line for line in output.splitlines() if "error" in line.lower())
    assert error.startswith("error in the configuration: ")
    assert "twice.yaml: seeds is there twice, in lines 1 and 3" in error


def test_a_key_given_twice_on_the_command_line_is_refused(tmp_path):
    workspace(tmp_path)
    status, output = snakemake(tmp_path, "--dry-run", "--config", "training={lr: 1.0, lr: 2.0}")
    assert status != 0
    (error,) = (line for line in output.splitlines() if "error" in line.lower())
    assert error.startswith("error in the configuration: --config training: lr is there twice")


@pytest.mark.parametrize("name", ["a{b}c", "{"])
def test_a_path_that_snakemake_would_format_is_one_line(tmp_path, name):
    folder = workspace(tmp_path / name)
    status, output = snakemake(folder, "--dry-run")
    assert status != 0
    assert f"error: {folder}: Snakemake cannot work where" in output and "Traceback" not in output


def test_a_results_link_that_leads_nowhere_is_one_line(tmp_path):
    workspace(tmp_path)
    (tmp_path / "results").symlink_to("/nowhere/at/all")
    status, output = snakemake(tmp_path, "--dry-run")
    assert status != 0
    assert "error: results: a link to /nowhere/at/all, which is not there" in output


def test_a_truncated_archive_is_named_and_once_mended_the_run_goes_on(tmp_path):
    toy_workspace(tmp_path)
    path = archive(tmp_path, "de-en")
    opus_tree.truncate(path)
    target = "results/data/toy/en-de/read.json"
    status, output = snakemake(tmp_path, "--configfile", "toy.yaml", "--", target)
    assert status != 0
    assert f"error: {path.relative_to(tmp_path)}: damaged or truncated" in output
    assert "Traceback" not in output
    assert count(output) == {"download": 1}
    data = tmp_path / "results/data"
    assert [path for path in data.rglob("*") if path.is_file()] == []

    write_corpus(path, "de-en")
    status, output = snakemake(tmp_path, "--configfile", "toy.yaml", "--", target)
    assert status == 0, output
    assert count(output) == {"download": 1, "read": 1}
    downloaded = data / "toy/en-de/download/Toy_v1_moses_de-en.txt.zip"
    assert downloaded.read_bytes() == path.read_bytes()


def test_a_results_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    toy_workspace(tmp_path)
    (tmp_path / "results").write_text("I am a file")
    status, output = snakemake(tmp_path, "--configfile", "toy.yaml")
    assert status != 0
    assert "Traceback" not in output
    assert [line for line in output.splitlines() if line.startswith("error: results: ")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--set-resources", "train:max_tokens=8GB"),
            "max_tokens of the rule `train`: '8GB' is no",
        ),
        (("--set-resources", "train:max_tokens=10"), "training.tokens_per_sample: 512 do not fit"),
        pytest.param(
            ("--config", "training={precision: bf16}"),
            "training.precision: bf16 needs a CUDA device",
            marks=pytest.mark.skipif(cards.is_there(), reason="it has one"),
        ),
    ],
    ids=["type", "size", "precision"],
)
def test_what_no_training_can_have_is_one_line_before_the_data_is_made(
    tmp_path, arguments, message
):
    toy_workspace(tmp_path)
    target = "results/runs/toy/clm/en/base/1/log.parquet"
    status, output = snakemake(tmp_path, target, "--configfile", "toy.yaml", *arguments)
    assert status != 0
    assert [line for line in output.splitlines() if line.startswith(f"error: {message}")]
    assert "Traceback" not in output and count(output) == {}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("figures/figure1.foo.pdf", "there is no estimator 'foo'; accepted: own_batch, next_batch"),
        ("runs/toy/mlm/xx/base/1/totals.parquet", "no pair of toy for xx: add one to `runs`"),
        ("tables/agreement.md", "no run is probed at every update; set `training.probe.every: 1`"),
    ],
    ids=["estimator", "run", "truth"],
)
def test_what_the_configuration_does_not_have_is_one_line(finished, target, message):
    status, output = snakemake(
        finished.folder, "--dry-run", f"results/{target}", "--configfile", "toy.yaml"
    )
    assert status != 0
    assert [line for line in output.splitlines() if line.startswith(f"error: {message}")]
    assert "Traceback" not in output and "Exception" not in output


def test_an_estimator_that_will_not_be_recorded_is_one_line_before_any_training(finished):
    (finished.folder / "without.yaml").write_text("training: {trapezoid: {every: 0}}")
    status, output = snakemake(
        finished.folder,
        *("--dry-run", "results/figures/figure1.trapezoid.pdf"),
        *("--configfile", "toy.yaml", "without.yaml"),
    )
    assert status != 0
    (line,) = [line for line in output.splitlines() if line.startswith("error")]
    assert line.startswith("error: trapezoid: not recorded by variant base; with `training.trapez")


def test_an_estimator_that_was_not_recorded_is_one_line(finished):
    path = finished.folder / "results/runs/toy/clm/en/base/1/totals.parquet"
    whole = path.read_bytes()
    totals = pd.read_parquet(path)
    totals[totals["estimator"] != "trapezoid"].to_parquet(path)
    status, output = snakemake(
        finished.folder,
        "results/figures/figure1.trapezoid.pdf",
        *("--rerun-triggers", "mtime", "--configfile", "toy.yaml"),
        python=finished.fake.python,
    )
    path.write_bytes(whole)
    assert status != 0
    assert f"error: {path.relative_to(finished.folder)}: has no trapezoid, only own_batch" in output
