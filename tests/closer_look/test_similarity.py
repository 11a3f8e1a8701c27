"""How alike runs are, and how it is drawn."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from closer_look.analysis.similarity import p_value, profiles, separation, similarities
from closer_look.vocabulary import COMPONENT_NAMES
from drawn import contributions, logged, of
from scripts.figures import similarity


def test_the_similarity_of_runs_is_the_mean_correlation_over_components(tables):
    found = profiles(of(tables[0]))
    r = similarities(found.to_numpy().reshape(7, 6, 4))
    runs = [
        tables[0].query(f"corpus == '{corpus}' and languages == '{languages}'")
        for corpus, languages in (("europarl", "en-de"), ("wmt18", "en-de"))
    ]
    expected = np.mean(
        [
            pearsonr(*(contributions(run, "mt", component) for run in runs)).statistic
            for component in COMPONENT_NAMES
        ]
    )
    names = found.index.droplevel("variant")
    places = [names.get_loc((corpus, "mt", "en-de")) for corpus in ("europarl", "wmt18")]
    assert r[tuple(places)] == pytest.approx(expected)
    np.testing.assert_allclose(np.diag(r), 1)


def test_only_runs_of_the_commonest_depth_are_compared(tables, tmp_path):
    deeper, _ = logged(tmp_path, 2, updates=10, layers=6)
    found = profiles(of(pd.concat([tables[0], deeper])))
    assert len(found) == 7 and found.notna().all(axis=None)


def test_runs_that_differ_by_objective_alone_are_told_apart():
    labels = np.array(["a", "a", "a", "b", "b", "b"])
    distance = 1.0 - (labels[:, None] == labels)
    assert separation(distance, labels) == 1
    assert p_value(distance, labels) == pytest.approx(0.1)  # 2 of 20 ways to deal them
    crossed = np.array(["x", "y", "z", "x", "y", "z"])
    assert separation(distance, crossed) == 0.5 - 1
    assert p_value(distance, crossed) == 1
    assert np.isnan(p_value(distance, np.arange(6)))


def test_similar_runs_are_neighbours_in_the_map(tables):
    figure = similarity.draw(of(tables[0]))
    (panel,) = (panel for panel in figure.axes if panel.images)
    objectives = [label.get_text().split()[0] for label in panel.get_yticklabels()]
    assert len([1 for a, b in zip(objectives, objectives[1:], strict=False) if a != b]) == 2
    r = panel.images[0].get_array()
    np.testing.assert_allclose(r, r.T)
    assert "the objective differs: by" in figure.get_suptitle()
