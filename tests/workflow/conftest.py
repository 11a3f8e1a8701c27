"""What the tests of the workflow share."""

import pytest

from fake_bin import workspace
from toy_experiment import Finished


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return workspace(tmp_path_factory.mktemp("paper"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """It takes a minute. Who changes it for good comes last, as `enlarged` does."""
    return Finished(tmp_path_factory.mktemp("finished"))
