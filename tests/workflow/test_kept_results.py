"""The results that are kept: the README says what they say, and their archive draws them."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images

from closer_look import config_file
from closer_look.answer import answer, misplaced
from fake_bin import ROOT, count, snakemake

KEPT = ROOT / "results/reference/laptop"
ARCHIVES = [KEPT / "archive.tar.gz", KEPT / "controls.tar.gz"]
"""The second is of the controls, to be unpacked over the first."""
FIGURES = sorted(path.name for path in KEPT.glob("figures/*.png"))


WIDTHS = KEPT.parent / "widths"
SAID = {
    "README.md": (KEPT, ["config/controls.yaml", "config/laptop.yaml"]),
    "results/reference/widths/README.md": (
        *(WIDTHS, ["config/laptop.yaml", "results/reference/widths/config.yaml"]),
    ),
}


@pytest.mark.parametrize("page", SAID)
def test_the_page_says_what_they_say(monkeypatch, page):
    monkeypatch.chdir(ROOT)
    results, files = SAID[page]
    found = answer(config_file.load(list(map(Path, files))), results)
    assert found.rstrip() in (ROOT / page).read_text()


def test_the_readme_says_how_much_is_misplaced():
    found = misplaced(KEPT.parent / "ground-truth/agreement.csv")
    assert found in (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    """The unpacked archives, in which the kept figures and tables were made anew."""
    folder = tmp_path_factory.mktemp("kept")
    for archive in ARCHIVES:
        shutil.unpack_archive(archive, folder)
    targets = [f"results/figures/{name}" for name in FIGURES]
    status, output = snakemake(folder / "archive", "results/tables/claims.csv", *targets)
    assert status == 0, output
    assert not count(output).keys() & {"train", "aggregate", "score"}
    return folder / "archive/results"


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_the_archive_draws_the_kept_figures(redrawn, name):
    assert compare_images(KEPT / "figures" / name, redrawn / "figures" / name, tol=1) is None


@pytest.mark.slow
def test_the_widths_are_drawn_from_their_archive(tmp_path):
    for archive in (ARCHIVES[0], WIDTHS / "widths.tar.gz"):
        shutil.unpack_archive(archive, tmp_path)
    status, output = snakemake(tmp_path / "archive", "results/figures/shapes.png")
    assert status == 0, output
    drawn = tmp_path / "archive/results/figures/shapes.png"
    assert compare_images(WIDTHS / "figures/shapes.png", drawn, tol=1) is None


@pytest.mark.slow
def test_the_archive_gives_the_kept_verdicts(redrawn):
    kept, found = (pd.read_csv(path / "tables/claims.csv") for path in (KEPT, redrawn))
    pd.testing.assert_frame_equal(kept, found, rtol=1e-6)


def test_the_archive_has_all_that_installing_takes(tmp_path):
    shutil.unpack_archive(KEPT / "archive.tar.gz", tmp_path)
    command = ["make", "--dry-run", "install"]
    planned = subprocess.run(command, cwd=tmp_path / "archive", capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr
    assert "--requirement envs/requirements.txt" in planned.stdout


@pytest.mark.parametrize(
    "archive", [*ARCHIVES, WIDTHS / "widths.tar.gz"], ids=lambda path: path.name
)
def test_an_archive_is_small(archive):
    assert archive.stat().st_size < 8e6
