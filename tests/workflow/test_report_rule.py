import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import yaml
from snakemake.utils import update_config

import report_tables
from closer_look.config import runs
from fake_bin import ROOT, snakemake, workspace

ENTRY = {"corpus": "libreoffice", "pairs": ["en-et"], "languages": ["en"]}
CONFIG = yaml.safe_load((ROOT / "config/demo.yaml").read_text()) | {
    "runs": [ENTRY | {"objectives": ["mlm", "clm", "mt"], "directions": "forward"}]
}
OPTIONS = ("--configfile", "config.yaml", "--allowed-rules", "report", "--", "results/report.html")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace with all that the rule takes, and what it said when there was nothing."""
    folder = workspace(tmp_path_factory.mktemp("workspace"))
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    update_config(config, CONFIG)
    report_tables.write(folder / "results", runs(config))
    status, output = snakemake(folder, *OPTIONS)
    assert status != 0
    for path in re.findall(r"^ +(results/(?:figures|tables)/\S+)", output, re.MULTILINE):
        (folder / path).parent.mkdir(exist_ok=True)
        if path.endswith(".png"):
            plt.figure(figsize=(2, 1)).savefig(folder / path)
        else:
            (folder / path).write_text("a,b\n1,2\n")
        name = Path(path).name.partition(".")[0]
        caption = folder / "workflow/report" / f"{name}.rst"
        caption.parent.mkdir(exist_ok=True)
        if not caption.exists():
            caption.write_text(f"What {name} is.")
    status, output = snakemake(folder, *OPTIONS)
    assert status == 0, output
    return folder


def test_the_rule_makes_the_page_of_all_runs_and_tables(finished):
    text = (finished / "results/report.html").read_text()
    assert text.startswith("<!doctype html>")
    for name in ("Masked LM · en", "Causal LM · en", "Translation · en→et", "Figure 1"):
        assert name in text


def test_a_new_caption_makes_it_again(finished):
    (finished / "workflow/report/figure1.rst").write_text("Something else.")
    status, output = snakemake(finished, "--dry-run", *OPTIONS)
    assert status == 0 and "rule report" in output
