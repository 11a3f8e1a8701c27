"""What the page says of each run, and which it warns of."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

import report_tables
from closer_look.page.runs import (
    RunSummary,
    agreed,
    hardware,
    labels,
    own_facts,
    version,
    warnings,
)

MLM, ESTONIAN, CLM, MT = report_tables.RUNS


def summary(run=MLM, **facts):
    tables = report_tables.tables(run)
    manifest = report_tables.manifest(run) | facts
    read = (tables[name] for name in ("losses", "completeness", "scores"))
    return RunSummary(run.languages, manifest, *read)


def test_a_run_is_summarised():
    run = summary()
    assert (run.name, run.objective, run.updates) == (MLM.name, "mlm", 400)
    assert run.first_loss > run.last_loss == pytest.approx(report_tables.LAST)
    assert run.shares == pytest.approx(report_tables.ESTIMATORS)
    assert run.share_texts["trapezoid"] == "100.0 ± 3.2 %"  # sqrt(0.09**2 + 0.03**2) of 3 nats
    assert (run.duration, run.device) == (timedelta(minutes=30), "Some CPU")


def test_without_a_standard_error_a_share_has_no_decimals():
    run = summary()
    run = replace(run, completeness=run.completeness.query("reference != 'dropout'"))
    assert run.share_texts["trapezoid"] == "100 %"


def test_an_attempt_says_what_it_ran_on_and_by_which_code():
    attempt = report_tables.attempt(10, None, 0)
    assert hardware(attempt | {"devices": ["A100", "A100"]}) == "2 × A100"
    assert version(attempt) == "c0ffeec0ff"
    assert version(attempt | {"code": attempt["code"] | {"modified": True}}).endswith("changes")
    assert version(attempt | {"code": attempt["code"] | {"commit": None}}) == "sha256 2222222222"


def test_a_run_without_measurements_has_no_shares():
    run = summary()
    run = replace(run, completeness=run.completeness.head(0))
    assert run.shares == {}
    assert list(warnings(run, [run])) == []


def losses_times(run, factor):
    losses = run.losses.assign(loss=run.losses["loss"] * factor)
    return replace(run, losses=losses)


def flat(run):
    return replace(run, losses=run.losses.assign(loss=8.0))


def off(run):
    return replace(run, completeness=run.completeness.assign(lca=run.completeness["lca"] * 2))


def not_finite(run):
    losses = run.losses.copy()
    losses.loc[5, "loss"] = np.inf
    return replace(run, losses=losses)


def scoring(run, **scores):
    return replace(run, scores=run.scores.assign(**scores))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            scoring(summary(), masked_loss=6.31),
            "test loss 6.31, where word frequencies alone give 7.00",
        ),
        (
            scoring(summary(MT), bleu=9.9),
            "BLEU 9.9 at best: its translations are of hardly any use",
        ),
        (summary(settings={"total_updates": 500}), "ends after 400 of 500 updates"),
        (not_finite(summary()), "the loss is not finite throughout"),
        (flat(summary()), "hardly learned: the loss went from 8.00 to 8.00"),
        (losses_times(summary(), 1.5), "final loss 7.50, where 5.00 is usual for its objective"),
        (off(summary()), "no estimator adds up to the change of its loss within 25%"),
        (
            summary(packages={"torch": "1.0", "numpy": "2.4.6"}),
            "torch 1.0, where most runs have 2.13.0",
        ),
    ],
)
def test_what_is_wrong_with_a_run_is_said(bad, message):
    runs = [bad, *(summary() for _ in range(4))]
    assert message in list(warnings(bad, runs))
    assert [list(warnings(run, runs)) for run in runs[1:]] == [[]] * 4


def test_scores_at_the_limits_are_no_reason_to_warn():
    masked, mt = scoring(summary(), masked_loss=6.29), scoring(summary(MT), bleu=10.0)
    assert [list(warnings(run, [masked, mt])) for run in (masked, mt)] == [[], []]


def test_one_good_test_set_is_enough_and_none_is_no_reason_to_warn():
    mt = summary(MT)
    other = mt.scores.assign(test_set="wmt18", bleu=3.0, loss=np.nan)
    both = replace(mt, scores=pd.concat([mt.scores, other]))
    none = replace(mt, scores=mt.scores.head(0))
    assert [list(warnings(run, [both, none])) for run in (both, none)] == [[], []]


def test_labels_say_what_tells_runs_apart():
    assert labels([MLM.name, MT.name]) == ["Masked LM · en", "Translation · en→de"]
    others = [MLM.name, MLM._replace(corpus="other", seed=2).name]
    assert labels(others) == ["Masked LM · en, toy, 1", "Masked LM · en, other, 2"]


def test_facts_are_those_of_all_runs_or_of_one():
    runs = [summary(MLM), summary(MT, python="3.12.1")]
    assert agreed(runs)["settings.lr"] == "0.001"
    assert own_facts(runs[1], runs) == {"run": MT.name, "python": "3.12.1"}
