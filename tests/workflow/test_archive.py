"""The archive: what is in it, and that it is drawn from elsewhere."""

import os
import shutil

import pytest
import yaml

from fake_bin import count, jobs, snakemake
from toy_experiment import RESULTS, TOY, rules


@pytest.fixture(scope="module")
def unpacked(finished, tmp_path_factory):
    """The archive of the finished workspace, made with newer code by a user who ignores that."""
    script = finished.folder / "scripts/training/train.py"
    stamp = script.stat()
    script.touch()
    output = finished.run("results/archive.tar.gz", "--rerun-triggers", "mtime")
    os.utime(script, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert count(output) == {"archive": 1}
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(finished.folder / "results/archive.tar.gz", folder)
    return folder / "archive"


def test_the_archive_has_tables_manifests_and_code_but_neither_models_nor_figures(unpacked):
    found = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    names = {path.name for path in found}
    assert {"run.json", "totals.parquet", "scores.parquet", "split.json", "download.json"} < names
    assert {"Snakefile", "table1.csv", "figures.yaml", "aggregate.py"} < names
    assert not {path for path in found if path.suffix in (".pt", ".gz", ".bin", ".png", ".pyc")}
    assert "log.parquet" not in names


def test_the_archives_configuration_is_the_one_that_was_in_force(unpacked):
    config = yaml.safe_load((unpacked / "config/config.yaml").read_text())
    assert config["runs"] == TOY["runs"]
    assert config["bpe"] == {"vocab_size": 120, "sample": 10000000}


def test_in_the_unpacked_archive_all_that_is_left_to_do_is_drawing(unpacked):
    status, output = snakemake(unpacked, "--dry-run")
    assert status == 0, output
    drawn = RESULTS - {"train", "aggregate", "score"}
    assert rules(jobs(output)) == drawn | {"table3"}


def test_in_the_unpacked_archive_a_figure_is_drawn_as_it_was(finished, unpacked):
    figure = "results/figures/figure1.png"
    status, output = snakemake(unpacked, figure)
    assert status == 0, output
    assert count(output) == {"figure1": 1}
    assert (unpacked / figure).read_bytes() == (finished.folder / figure).read_bytes()
