import shutil

import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from closer_look.analysis.claims.claim import OTHERS, PAPER
from closer_look.analysis.frames import write
from closer_look.answer import answer
from closer_look.summary import summary
from closer_look.vocabulary import COMPONENTS
from fake_bin import ROOT

RUNS = {"mlm": "libreoffice/mlm/en", "clm": "libreoffice/clm/en", "mt": "libreoffice/mt/en-de"}
VERDICTS = {  # by own_batch, next_batch, trapezoid
    "1": ("holds", "holds", "holds"),
    "2": ("holds", "undecided", "fails"),
    "3": ("fails", "fails", "fails"),
    "4": ("not applicable", "not applicable", "not applicable"),
}


@pytest.fixture
def config():
    config = {}
    for name in ("config", "laptop"):
        update_config(config, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    return config


@pytest.fixture
def results(tmp_path):
    (tmp_path / "tables").mkdir()
    claims = [
        {"claim": claim, "group": PAPER, "statement": f"S{claim}.", "estimator": name, "verdict": v}
        for claim, verdicts in VERDICTS.items()
        for name, v in zip(("own_batch", "next_batch", "trapezoid"), verdicts, strict=True)
        for _ in range(2)  # a row for each inequality
    ]
    claims += [claims[0] | {"claim": "26", "group": OTHERS}]
    pd.DataFrame(claims).to_csv(tmp_path / "tables/claims.csv", index=False)
    scores = []
    for objective, run in RUNS.items():
        facets = dict(zip(("corpus", "objective", "languages"), run.split("/"), strict=True))
        is_masked, is_mt = objective == "mlm", objective == "mt"
        scores.append(
            facets
            | {"variant": "base", "seed": 1, "test set": "test", "unigram loss": 6.5}
            | {"loss": None if is_masked else 4.25, "masked loss": 5.5 if is_masked else None}
            | {"BLEU": 12.34 if is_mt else None}
        )
        folder = tmp_path / f"runs/{run}/base/1"
        folder.mkdir(parents=True)
        gaps = {"own_batch": (9.0, 0.1), "next_batch": (-0.1, 0.05), "trapezoid": (0.01, 0.02)}
        summary = [
            {"reference": reference, "estimator": name, "change": -2.5, "gap": g, "gap_se": e}
            for reference in ("train", "dropout")
            for name, (g, e) in gaps.items()
        ]
        pd.DataFrame(summary).to_csv(folder / "summary.csv", index=False)
    pd.DataFrame(scores).to_csv(tmp_path / "tables/scores.csv", index=False)
    return tmp_path


def test_the_models_and_what_the_estimators_find(config, results):
    lines = answer(config, results).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:5]]
    shares = ["1000 ± 10 %", "90.0 ± 5.0 %", "101.0 ± 2.0 %"]
    assert cells == [
        ["Masked LM", "5.50 (6.50)", "", "2.50", *shares],
        ["Causal LM", "4.25 (6.50)", "", "2.50", *shares],
        ["Translation", "4.25 (6.50)", "12.3", "2.50", *shares],
    ]


def shapes(results, run, values):
    """Write a run's contributions by layer, the same for all components and estimators."""
    corpus, objective, languages, variant, seed = run
    folder = results / f"runs/{'/'.join(run)}"
    folder.mkdir(parents=True, exist_ok=True)
    facets = {"corpus": corpus, "objective": objective, "languages": languages}
    rows = [
        {**facets, "variant": variant, "seed": int(seed), "estimator": estimator}
        | {"stack": "model", "layer": layer, "component": component, "head": 0, "lca": -value}
        for estimator in ("own_batch", "trapezoid")
        for component in COMPONENTS
        for layer, value in enumerate(values, start=1)
    ]
    write(pd.DataFrame(rows), folder / "totals.parquet")


def test_what_changes_with_a_variant(config, results):
    config["variants"]["post"] = {"norm": "post"}
    verdicts = {"base": ("holds", "fails", "undecided"), "post": ("holds", "undecided", "fails")}
    rows = [
        {"variant": variant, "claim": claim, "group": PAPER, "verdict": verdict, "estimator": name}
        for variant, found in verdicts.items()
        for claim, verdict in zip(("2", "3", "12"), found, strict=True)
        for name in ("own_batch", "trapezoid")
        if name == "trapezoid" or variant == "base"
    ]
    pd.DataFrame(rows).to_csv(results / "tables/verdicts.csv", index=False)
    shapes(results, ("libreoffice", "mlm", "en", "base", "1"), [1, 2, 3])  # post
    shapes(results, ("libreoffice", "clm", "en", "base", "1"), [3, 2, 1])  # pre
    shapes(results, ("libreoffice", "clm", "en", "post", "1"), [1, 4, 1])
    shapes(results, ("libreoffice", "mt", "en-de", "base", "1"), [1, 2, 3])  # post
    folder = results / "runs/libreoffice/clm/en"
    shutil.copy(folder / "base/1/summary.csv", folder / "post/1/summary.csv")
    lines = answer(config, results).splitlines()
    assert lines[5].split("|")[1].strip() == "Causal LM, `post`"
    *_, verdicts, _, alike = lines
    assert verdicts == (
        "With `post`, 1 of 3 verdicts by `trapezoid` stay as they are; "
        "(3) fails → undecided; (12) undecided → fails."
    )
    assert alike == (
        "Shapes over the layers of two models by `trapezoid` (`own_batch`) correlate by "
        "r = 0.00 (0.00) with the objective in common but not `norm`, "
        "r = 0.33 (0.33) with `norm` in common but not the objective, "
        "r = −1.00 (−1.00) with neither in common."
    )


def test_a_model_without_a_test_set_of_its_own(config, results):
    path = results / "tables/scores.csv"
    scores = pd.read_csv(path)
    scores[scores["objective"] != "clm"].to_csv(path, index=False)
    row = answer(config, results).splitlines()[3]
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["not scored", ""]


def test_the_claims_by_their_verdicts(config, results):
    lines = answer(config, results).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[6:11]]
    assert cells == [
        ["Of the paper's 4 claims", "hold", "fail", "are undecided", "cannot be tested"],
        cells[1],
        ["by `own_batch`", "2", "1", "0", "1"],
        ["by `next_batch`", "1", "1", "1", "1"],
        ["by `trapezoid`", "1", "2", "0", "1"],
    ]
    assert lines[12:] == [
        "- **Holds either way:** (1) S1.",
        "- **Holds by `own_batch`, fails by `trapezoid`:** (2) S2.",
        "- **Fails either way:** 3.",
    ]


def test_the_demo_ends_with_the_same_numbers(config, results):
    lines = summary(config, results)
    losses, shares, claims, _ = (line.replace(str(results), "results") for line in lines)
    assert losses.endswith("masked 5.50 (6.50), causal 4.25 (6.50), translation 4.25 (6.50)")
    assert "masked 101.0 ± 2.0 %, causal 101.0 ± 2.0 %, translation 101.0 ± 2.0 %" in shares
    assert "1 hold, 2 fail, 0 are undecided" in claims
    assert max(map(len, (losses, shares, claims))) <= 100
