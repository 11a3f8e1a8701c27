"""What the tests of the workflow share."""

import pytest

from fake_bin import workspace
from toy_experiment import Finished


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return workspace(tmp_path_factory.mktemp("paper"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("finished"))
