"""Where Snakemake can work."""

import re

import pytest

from closer_look import folders
from closer_look.jobs.job import InputError


@pytest.mark.parametrize("name", ["a{b}c", "{", "}"])
def test_a_path_with_braces_is_refused(tmp_path, name):
    message = f"^{re.escape(str(tmp_path / name))}: Snakemake cannot work where a folder has {{ or"
    with pytest.raises(InputError, match=message):
        folders.check([tmp_path, tmp_path / name], tmp_path / "results")


def test_results_may_be_there_or_not_or_be_a_link(tmp_path):
    folders.check([tmp_path], tmp_path / "results")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").symlink_to("elsewhere")
    folders.check([tmp_path], tmp_path / "results")


def test_results_that_are_a_dangling_link_or_a_file_are_refused(tmp_path):
    results = tmp_path / "results"
    results.symlink_to("nowhere")
    with pytest.raises(InputError, match="results: a link to nowhere, which is not there: make"):
        folders.check([], results)
    (tmp_path / "nowhere").touch()
    with pytest.raises(InputError, match="results: not a folder that can be written to"):
        folders.check([], results)
