"""Trainings on a machine of two pretended cards, by the profile for four: the surplus waits."""

import itertools
import json

import pytest
import yaml

from fake_bin import FakeBin, snakemake
from toy_experiment import TOY, toy_workspace

TORCH_CUDA = """
import os

def device_count():
    return len(os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(","))

def get_device_capability(card):
    return 7, 0

def get_device_name(card):
    return f"card {card}"

def get_arch_list():
    return ["sm_70"]
"""
RECORD = """
import json, os, time
from pathlib import Path

start = time.time()
time.sleep(1)
with open(Path(__file__).parent / "cards.jsonl", "a") as file:
    row = [os.environ.get("CUDA_VISIBLE_DEVICES"), start, time.time()]
    file.write(json.dumps(row) + "\\n")
"""


@pytest.mark.slow
def test_no_two_trainings_share_a_card(tmp_path):
    fake = FakeBin(tmp_path / "venv")
    (module,) = (tmp_path / "venv").glob("lib/python*/site-packages/torch/cuda.py")
    module.write_text(TORCH_CUDA)
    trainer = fake.bin / "fairseq-train"
    shebang, program = trainer.read_text().split("\n", 1)
    trainer.write_text(f"{shebang}\n{RECORD}\n{program}")
    folder = toy_workspace(tmp_path / "workspace")
    config = TOY | {"training": TOY["training"] | {"tokens_per_update": 2048}, "seeds": [1, 2]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    status, output = snakemake(
        folder,
        *("--workflow-profile", "profiles/multi-gpu", "--cores", "6"),
        *("--configfile", "config.yaml", "--", "models"),
        python=fake.python,
    )
    assert status == 0, output
    trainings = [json.loads(line) for line in (fake.bin / "cards.jsonl").open()]
    assert len(trainings) == 6
    assert {card for card, _, _ in trainings} == {"0", "1"}
    overlapping = 0
    for one, other in itertools.combinations(trainings, 2):
        if one[1] < other[2] and other[1] < one[2]:
            overlapping += 1
            assert one[0] != other[0]
    assert overlapping  # both cards were at work at a time
