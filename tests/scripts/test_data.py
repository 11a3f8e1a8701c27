"""Corpora from every source through Snakemake, from a server on this machine."""

import json
import shutil

import pytest
import yaml

import opus_tree
from closer_look.data.text import read_lines
from fake_bin import count, snakemake, workspace
from http_server import serve

OPUS = {form: opus_tree.corpus(form) for form in opus_tree.FORMATS}
del OPUS["moses"]["format"]  # it is the default


def write_config(folder, corpora):
    """Configure the corpora; a translation model is to be trained on the first."""
    held_out = {"languages": ["de", "en"], "valid": 1, "test": 1}
    config = {
        "corpora": {name: entry | held_out for name, entry in corpora.items()},
        "opus_database": "opus.db",
        "runs": [{"corpus": next(iter(corpora)), "pairs": ["en-de"], "objectives": ["mt"]}],
        "main_runs": {"mlm": None, "clm": None, "mt": None},
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(tmp_path / "mirror") as server:
        for form in opus_tree.FORMATS:
            opus_tree.write_tree(tmp_path / "mirror", form)
        yield server


@pytest.fixture
def folder(tmp_path, server):
    folder = workspace(tmp_path / "workspace")
    opus_tree.write_database(folder / "opus.db", server.url)
    return folder


def run(folder, *targets):
    return snakemake(folder, "--configfile", "toy.yaml", "--", *targets)


def test_every_source_gives_the_same_text(folder, tmp_path, server):
    for language, lines in opus_tree.TEXT.items():
        text = "".join(f"{line}\n" for line in lines)
        (tmp_path / f"mine.{language}").write_text(text)
    shutil.make_archive(tmp_path / "mirror/part", "gztar", tmp_path, ".")
    parts = [{"url": f"{server.url}part.tar.gz", "files": "./mine.{language}"}] * 2
    corpora = OPUS | {
        "local": {"source": "local", "files": f"{tmp_path}/mine.{{language}}"},
        "web": {"source": "url", "parts": parts},
    }
    write_config(folder, corpora)
    server.plan = [503]  # to the first request
    status, output = run(folder, *(f"results/data/{name}/en-de/read.json" for name in corpora))
    assert status == 0, output
    assert count(output) == {"download": 4, "read": 5}
    for name in corpora:
        times = 2 if name == "web" else 1
        read = folder / "results/data" / name / "en-de/read"
        for language, lines in opus_tree.TEXT.items():
            assert list(read_lines(read / f"{language}.gz")) == lines * times
    manifest = json.loads((folder / "results/data/raw/en-de/download.json").read_text())
    assert manifest["origins"]["Toy_v1_raw_de.zip"] == f"{server.url}Toy/v1/raw/de.zip"
    assert manifest.keys() == {"origins", "bytes", "sha256"}


def test_what_opus_lacks_is_one_line_before_anything_is_fetched(folder, server):
    write_config(folder, {"toy": OPUS["moses"] | {"version": "v2"}})
    status, output = run(folder, "data")
    assert status != 0
    (error,) = (line for line in output.splitlines() if line.startswith("error"))
    assert error == "error: corpora.toy: OPUS has no version 'v2' of Toy; it has v1"
    assert "Traceback" not in output and "localrule download" not in output
    assert server.requests == []


def test_local_text_that_is_not_there_is_one_line(folder):
    write_config(folder, {"mine": {"source": "local", "files": "nowhere/text.{language}"}})
    status, output = run(folder, "data", "--dry-run")
    assert status != 0
    message = "error: corpora.mine.files: nowhere/text.en: no such file"
    assert [line for line in output.splitlines() if line.startswith(message)]
    assert "Traceback" not in output
