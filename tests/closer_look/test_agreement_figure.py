"""Estimates against the truth, as drawn."""

import re

import numpy as np
import pandas as pd
import pytest

import synthetic
from closer_look.analysis.agreement import CELL, summary
from closer_look.analysis.agreement import agreement as read_agreement
from drawn import MLM, MT, SIZE, texts
from scripts.figures import agreement


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The table `agreement` of a masked and a translation model."""
    folder = tmp_path_factory.mktemp("compared")
    frames = []
    for facets in (synthetic.facets(MLM), synthetic.facets(MT)):
        path = folder / f"{facets['objective']}.parquet"
        synthetic.write_log(path, facets["objective"], 60, probe_every=1, **SIZE)
        frames.append(read_agreement(path).assign(**facets))
    return pd.concat(frames)


def points(panel):
    """Return the points of a panel, as rows of x and y, sorted."""
    found = np.concatenate([group.get_offsets() for group in panel.collections[:4]])
    return found[np.argsort(found[:, 0])]


def test_agreement_draws_estimate_against_truth_of_every_block_and_head(compared):
    rows = np.reshape(agreement.draw(compared).axes, (2, 4))
    estimators = ["own_batch", "next_batch", "trapezoid", "held_out"]
    for row, objective in zip(rows, ("mlm", "mt"), strict=True):
        for panel, estimator in zip(row, estimators, strict=True):
            chosen = (compared["objective"] == objective) & (compared["estimator"] == estimator)
            sums = -compared[chosen].groupby(CELL)[["truth", "lca"]].sum()
            np.testing.assert_allclose(points(panel), sums.sort_values("truth"), rtol=1e-6)
            assert panel.get_xlim() == panel.get_ylim()
    assert [panel.get_title() for panel in rows[0, :2]] == ["own-batch", "next-batch"]


def test_agreement_says_in_numbers_how_well_an_estimator_does(compared):
    panel = agreement.draw(compared).axes[0]
    chosen = (compared["objective"] == "mlm") & (compared["estimator"] == "own_batch")
    block, head = summary(compared[chosen]).to_dict("records")
    (text,) = texts(panel)
    for name, value in (("sum", block["ratio"]), ("heads misplaced", head["distance"])):
        assert re.search(rf"{name} +{100 * value:.1f} %|{name} +{100 * value:.0f} %", text), text


def test_without_a_run_probed_at_every_update_agreement_says_so(compared):
    (panel,) = agreement.draw(compared[:0]).axes
    assert texts(panel) == ["no run was probed at every update"]
