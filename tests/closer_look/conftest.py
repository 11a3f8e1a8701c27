"""What the tests of figures share."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from drawn import CLM, MLM, MT, WMT, logged, main_runs


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """Totals and curves of seven runs, the first three being those of `MLM`, `CLM` and `MT`."""
    folder = tmp_path_factory.mktemp("logs")
    runs = [logged(folder, number) for number in (MLM, CLM, MT, WMT, 1, 5, 9)]
    return [pd.concat(frames, ignore_index=True) for frames in zip(*runs, strict=True)]


@pytest.fixture(scope="session")
def totals(tables):
    return main_runs(tables[0])


@pytest.fixture(scope="session")
def curves(tables):
    return main_runs(tables[1])
