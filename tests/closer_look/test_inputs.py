"""What is checked before the first job, with jobs that Snakemake need not make."""

from types import SimpleNamespace

import pytest

from closer_look.inputs import Inputs
from closer_look.jobs import cards
from shipped_config import PAPER


def training(**resources):
    wildcards = SimpleNamespace(objective="clm", variant="base")
    rule = SimpleNamespace(name="train")
    return SimpleNamespace(
        rule=rule, wildcards=wildcards, resources={"max_tokens": 2048} | resources
    )


@pytest.fixture
def inputs():
    return Inputs(PAPER, [], {})


def test_only_trainings_on_this_machine_need_a_card_here(inputs, monkeypatch):
    monkeypatch.setattr(cards, "is_there", lambda: False)
    inputs.check_trainings([training()], is_local=False)
    inputs.check_trainings([], is_local=True)
    with pytest.raises(SystemExit, match="^error: training.precision: fp16 needs a CUDA device"):
        inputs.check_trainings([training()], is_local=True)
    monkeypatch.setattr(cards, "is_there", lambda: True)
    inputs.check_trainings([training()], is_local=True)


def test_the_cards_of_a_training_share_its_update(inputs):
    inputs.check_trainings([training(gpu=64)], is_local=False)
    with pytest.raises(SystemExit, match="^error: training.tokens_per_sample: 512 do not fit "):
        inputs.check_trainings([training(gpu=128)], is_local=False)
