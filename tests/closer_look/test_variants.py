"""The exhibits that put variants side by side."""

import numpy as np
import pandas as pd
import pytest

import synthetic
from closer_look.analysis.claims.markdown import MARKS
from closer_look.analysis.claims.verdicts import FAILS, HOLDS
from closer_look.vocabulary import COMPONENT_NAMES, MODEL
from drawn import of
from lca.analysis.curves import head_curves
from lca.analysis.totals import totals as read_totals
from scripts.figures import shapes, verdicts
from worlds import CLM, ENCODER, MAIN_RUNS, MLM, MT, World, change

NUMBERS = (0, 4, 8)  # of `synthetic.RUNS`: mlm, clm, mt
SIZE = dict(layers=4, heads=2, width=16, vocabulary=50)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Totals of base and pre, whose causal model is that of base, and the models of each."""
    folder, tables, main = tmp_path_factory.mktemp("logs"), [], {"base": [], "pre": []}
    for variant in main:
        for number in NUMBERS:
            facets = synthetic.facets(number) | {"variant": variant}
            if facets["objective"] == "clm":
                facets["variant"] = "base"
            main[variant].append("/".join(facets[name] for name in MODEL))
            if facets["variant"] == variant:
                path = folder / f"{variant}-{number}.parquet"
                seed = number + 20 * (variant == "pre")
                synthetic.write_log(path, facets["objective"], 300, seed, **SIZE)
                tables.append(read_totals(path, head_curves(path)).assign(**facets))
    return pd.concat(tables, ignore_index=True), main


def test_a_shape_is_the_contribution_over_its_mean_magnitude(models):
    totals, main = models
    figure = shapes.draw(of(totals), main, "own_batch")
    panels = np.reshape(figure.axes, (3, len(COMPONENT_NAMES)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["base", "pre"]
    for row, objective in zip(panels, ("mlm", "clm", "mt"), strict=True):
        for panel, component in zip(row, COMPONENT_NAMES, strict=True):
            lines = [line for line in panel.lines if line.get_marker() == "o"]
            variants = ["base"] if objective == "clm" else ["base", "pre"]
            stacks = 2 if objective == "mt" else 1
            assert len(lines) == len(variants) * stacks
            for number, variant in enumerate(variants):
                rows = totals.query(
                    f"estimator == 'own_batch' and head == 0 and objective == '{objective}'"
                    f" and component == '{component}' and variant == '{variant}'"
                ).sort_values(["stack", "layer"], ascending=[False, True])
                drawn = lines[stacks * number : stacks * (number + 1)]
                heights = np.concatenate([line.get_ydata() for line in drawn])
                expected = -rows["lca"] / rows["lca"].abs().mean()
                np.testing.assert_allclose(heights, expected)
                assert {line.get_color() for line in drawn} == {shapes.COLOURS[number]}


def test_a_claim_is_tested_on_the_models_of_each_variant():
    """Claim 4 holds where the encoder's key and query peak in the first layer, and fails else."""
    peaked = (*MT[:3], "pre", 1)
    world = World((*MAIN_RUNS, peaked))
    change(peaked, ["key", "query"], at=ENCODER, to=[4, 1, 1.1, 1.2, 1.3, 1.4])(world)
    others = ["/".join(run[:4]) for run in (MLM, CLM)]
    main = {run[3]: [*others, "/".join(run[:4])] for run in (MT, peaked)}
    found = verdicts.by_variant(main, **world.tables())
    of_claim = found[found["claim"] == "4"].set_index("variant")["verdict"]
    assert of_claim.to_dict() == {"base": FAILS, "pre": HOLDS}
    assert not {"23", "24a"} & set(found["claim"])  # those are about all runs
    (panel,) = verdicts.draw(found).axes
    labels = [label.get_text() for label in panel.get_yticklabels()]
    row = next(row for row, label in enumerate(labels) if label.endswith("  4"))
    marks = {text.get_position(): text.get_text() for text in panel.texts}
    assert [marks[column, row] for column in (0, 1)] == [MARKS[FAILS], MARKS[HOLDS]]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["base", "pre"]
