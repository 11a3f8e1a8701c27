import shlex

import pandas as pd
import pytest
import yaml

from closer_look.analysis.frames import read
from closer_look.analysis.table1 import table1
from closer_look.analysis.tables import write
from closer_look.config import of_objective
from closer_look.config import settings as settings_of
from closer_look.jobs.job import InputError
from closer_look.training.fairseq_options import arguments
from fake_bin import ROOT
from scripts.analysis.table2 import table2
from scripts.analysis.table3 import table3

PAPER = ROOT / "resources/paper"
SETTINGS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["training"]
EQUAL = yaml.safe_load((ROOT / "config/controls.yaml").read_text())["variants"]["equal"]


def milestones(objective, rows):
    columns = ["layer", "component", "positive_updates", "last_positive", "largest"]
    return pd.DataFrame(rows, columns=columns).assign(objective=objective)


def paper(number, **options):
    return pd.read_csv(PAPER / f"table{number}.csv", **options)


def manifest(variant, objective="mlm", cap=2048, **changes):
    """As a training leaves it: what its rule gave it, and what that became."""
    languages = "en-de" if objective == "mt" else "en"
    config = {"training": SETTINGS, "variants": {variant: changes}}
    settings = of_objective(settings_of(config, variant), objective)
    return {
        "run": f"europarl/{objective}/{languages}/{variant}/1",
        "settings": settings,
        "options": shlex.join(arguments(objective, languages, settings, cap, devices=1)),
        "max_tokens": cap,
    }


def test_table_1_counts_pairs_of_layer_and_update():
    rows = [
        (1, "key", 3, 40, 0.5),
        (2, "key", 2, 90, 0.25),
        (1, "w2", 0, 0, -0.1),
        (0, "embeddings", 1, 7, 2.5),
        (1, "biases", 500, 500, 99.0),  # not in the paper's table
    ]
    found = table1(milestones("mlm", rows), paper(1, index_col="objective")).set_index("")
    assert found["MLM"][["emb.", "key", "W2"]].tolist() == [1, 5, 0]
    assert found["MLM"]["last update with one"] == 90
    assert found["MLM"][["largest", "largest is in"]].tolist() == [2.5, "emb."]
    assert found["MLM, paper"]["query"] == 2055
    assert found["CLM"].isna().all() and found["CLM, paper"].notna().all()


def test_table_1_of_noisy_estimators_counts_windows():
    """Nothing is significant in MT, so that there is no largest."""
    columns = ["layer", "component", "positive_updates", "last_positive", "largest"]
    rows = {"mlm": [(1, "key", 3, 400, 0.5), (2, "w1", 1, 100, 0.7)], "mt": [(1, "w1", 0, 0, None)]}
    frames = [pd.DataFrame(r, columns=columns).assign(objective=o) for o, r in rows.items()]
    found = pd.concat(frames).assign(window=50)
    table = table1(found, paper(1, index_col="objective")).set_index("")
    assert table["MLM"][["key", "W1", "last update with one"]].tolist() == [3, 1, 400]
    assert table["MLM"][["largest", "largest is in", "updates of a window"]].tolist() == [
        0.7,
        "W1",
        50,
    ]
    assert table["MT"]["W1"] == 0 and pd.isna(table["MT"]["largest"])


def test_table_2_says_as_what_the_paper_does_in_the_paper_configuration():
    manifests = [manifest("base", objective) for objective in ("mlm", "clm", "mt")]
    found = table2(manifests, paper(2, dtype=str)).set_index("parameter")
    both = found.dropna()
    assert len(both) == len(paper(2)) == 20
    assert both[both["paper"] != both["base"]].empty
    assert found["base"]["tokens_per_update"] == "32768"
    assert found["base"]["norm"] == "mlm: post, clm: pre, mt: post"
    assert found["base"]["positions"] == "mlm: learned, clm: sinusoidal, mt: sinusoidal"
    assert found["base"]["sample_break"] == "mlm: complete, clm: none, mt: eos"
    assert found["base"]["initial embeddings"].startswith("mlm: normal 0.02, clm: normal 0.044")
    assert not found.index.has_duplicates


def test_table_2_shows_the_micro_batches_that_ran():
    found = table2([manifest("base", cap=8192)], paper(2, dtype=str)).set_index("parameter")
    assert found["base"]["max-tokens-per-sample"] == "8192"
    found = table2([manifest("base", cap=1 << 20)], paper(2, dtype=str)).set_index("parameter")
    assert found["base"][["max-tokens-per-sample", "update-freq"]].tolist() == ["32768", "1"]


def test_table_2_says_where_the_objectives_are_equal():
    manifests = [manifest("equal", objective, **EQUAL) for objective in ("mlm", "clm", "mt")]
    found = table2(manifests, paper(2, dtype=str)).set_index("parameter")["equal"]
    assert found["tie_output"] == "mlm: yes, clm: yes, mt: yes"
    assert found["sample_break"] == "mlm: eos, clm: eos, mt: eos"
    names = ("norm", "positions", "embedding_norm", "scale_embeddings", "norm after the last layer")
    for name in names:
        assert len({text.split(": ")[1] for text in found[name].split(", ")}) == 1, name
    assert found["output head"] == "mlm: dense + norm + matrix + bias, clm: matrix, mt: matrix"


def test_table_2_has_a_column_for_each_variant_with_all_its_values():
    manifests = [manifest("base"), manifest("base", lr=0.1), manifest("wet", dropout=0.3)]
    found = table2(manifests, paper(2, dtype=str)).set_index("parameter")
    assert found.loc["lr", ["base", "wet"]].tolist() == ["0.0005 / 0.1", "0.0005"]
    assert found.loc["dropout", ["base", "wet"]].tolist() == ["0.1", "0.3"]


def test_table_3_has_the_rows_of_the_paper_and_ours():
    counts = [
        ("europarl", "en-fi", {"train": 11, "valid": 2, "test": 3, "shared": 1}),
        ("mine", "de-fi", {"train": 5, "valid": 0, "test": 0, "shared": 0}),
    ]
    found = table3(counts, paper(3, dtype=str)).set_index(["dataset", "languages"])
    assert len(found) == 8
    finnish = found.loc[("Europarl", "En-Fi")]
    assert finnish.tolist() == [11, "1.91M", 2, "2.5K", 3, "2.5K"]
    assert found.loc[("mine", "de-fi"), "train, ours"] == 5
    assert found["train, ours"].isna().sum() == 6


def test_a_table_is_written_for_programs_people_and_papers(tmp_path):
    table = pd.DataFrame({"a_b": ["x", "50 %"], "n": [1234567, 2], "f": [0.123456, None]})
    paths = {kind: tmp_path / f"table.{kind}" for kind in ("csv", "md", "tex")}
    write(table, "A caption", **paths)
    assert pd.read_csv(paths["csv"]).equals(table)
    markdown = paths["md"].read_text()
    assert markdown.startswith("A caption\n\n| a_b")
    assert "| 1,234,567 | 0.1235 |" in markdown and "| –" in markdown
    latex = paths["tex"].read_text()
    assert r"\caption{A caption}" in latex and r"50 \%" in latex and r"a\_b" in latex


def test_a_caption_is_text_to_latex_too(tmp_path):
    paths = {kind: tmp_path / f"table.{kind}" for kind in ("csv", "md", "tex")}
    write(pd.DataFrame({"a": [1]}), r"own_batch: 5 % & $1 #2 {x} ~y ^z \w", **paths)
    escaped = (
        r"own\_batch: 5 \% \& \$1 \#2 \{x\} \textasciitilde{}y \textasciicircum{}z "
        r"\textbackslash{}w"
    )
    assert rf"\caption{{{escaped}}}" in paths["tex"].read_text()
    assert paths["md"].read_text().startswith(r"own_batch: 5 % & $1 #2 {x} ~y ^z \w")


def test_a_column_may_be_for_programs_only(tmp_path):
    paths = {kind: tmp_path / f"table.{kind}" for kind in ("csv", "md", "tex")}
    write(pd.DataFrame({"a": [1], "hidden": [2]}), "", **paths, unprinted=["hidden"])
    assert {kind for kind, path in paths.items() if "hidden" in path.read_text()} == {"csv"}


@pytest.fixture
def path(tmp_path):
    frame = pd.DataFrame({"estimator": ["own_batch", "next_batch"], "lca": [1, 2], "more": [0, 0]})
    frame.to_parquet(tmp_path / "totals.parquet")
    return tmp_path / "totals.parquet"


def test_only_what_is_drawn_is_read(path):
    found = read([path, path], "next_batch", ["estimator", "lca"])
    assert found.to_dict("list") == {"estimator": ["next_batch"] * 2, "lca": [2, 2]}


def test_an_estimator_that_is_not_there_is_refused(path):
    message = "totals.parquet: has no trapezoid, only own_batch, next_batch; set `training.trapez"
    with pytest.raises(InputError, match=message):
        read([path], "trapezoid")


def test_no_run_to_draw_is_refused():
    with pytest.raises(InputError, match="main_runs: "):
        read([])
