import json
import re

import pandas as pd
import pytest

import synthetic
from closer_look.config import Run
from closer_look.jobs.job import InputError
from closer_look.jobs.manifest import sha256
from scripts.analysis.aggregate import TABLES, main

RUN = Run("europarl", "clm", "en", "base", 2)
NAMES = ["totals", "curves", *(table.__name__ for table in TABLES)]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "log.parquet"
    synthetic.write_log(
        path, RUN.objective, 12, probe_every=1, layers=2, heads=2, width=8, vocabulary=20
    )
    return path


def aggregate(log, folder, total_updates=12):
    manifest = folder / "run.json"
    facts = {"settings": {"total_updates": total_updates}, "sha256": {"log": sha256(log)}}
    manifest.write_text(json.dumps(facts))
    outputs = {name: folder / f"{name}.parquet" for name in NAMES}
    main(log, manifest, RUN, 1000, outputs | {"summary": folder / "summary.csv"})
    return {name: pd.read_parquet(path) for name, path in outputs.items()}


def test_every_table_starts_with_the_run(log, tmp_path):
    for table in aggregate(log, tmp_path).values():
        assert list(table)[:5] == ["corpus", "objective", "languages", "variant", "seed"]
        facets = table[list(RUN._fields)].drop_duplicates()
        assert facets.values.tolist() == [list(RUN)]


def test_the_summary_says_how_far_every_estimator_is_from_the_truth(log, tmp_path):
    table = aggregate(log, tmp_path)["completeness"]
    found = pd.read_csv(tmp_path / "summary.csv").set_index(["reference", "estimator"])
    assert len(found) == len(table[["reference", "estimator"]].drop_duplicates()) >= 9
    for key, of_run in table.groupby(["reference", "estimator"]):
        change, lca = of_run[["change", "lca"]].iloc[-1]
        row = found.loc[key]
        assert row["gap"] == pytest.approx((lca - change) / change, rel=1e-2, abs=1e-3)
        assert row["worst"] >= abs(row["gap"]) * 0.99
    assert list(found) == ["change", "change_se", "lca", "lca_se", "gap", "gap_se", "worst"]


def test_tables_are_small(log, tmp_path):
    table = aggregate(log, tmp_path)["curves"]
    assert {str(table[name].dtype) for name in ("sum", "low", "helping")} == {"float32"}


def test_an_unfinished_log_is_refused_with_the_command_that_ends_it(log, tmp_path):
    command = f"`snakemake --forcerun train -- {log}`"
    with pytest.raises(InputError, match=f"ends at update 12 of 400; {re.escape(command)}"):
        aggregate(log, tmp_path, total_updates=400)


def test_a_broken_log_is_refused_with_the_command_that_makes_it(tmp_path):
    log = tmp_path / "log.parquet"
    log.write_text("nothing")
    with pytest.raises(InputError, match=r"log.parquet: cannot be read.*; `snakemake --forcerun"):
        aggregate(log, tmp_path)


def test_a_log_that_was_changed_since_is_refused(log, tmp_path):
    aggregate(log, tmp_path)
    changed = bytearray(log.read_bytes())
    changed[len(changed) // 2] ^= 1
    log = tmp_path / "log.parquet"
    log.write_bytes(changed)
    command = re.escape(f"`snakemake --forcerun train -- {log}`")
    with pytest.raises(InputError, match=f"^{log}: damaged: .*run.json.*; {command}"):
        main(log, tmp_path / "run.json", RUN, 1000, {})
