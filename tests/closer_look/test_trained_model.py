import numpy as np
import pytest
import torch
from fairseq import options, tasks
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import make_builder
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from closer_look.training import trained_model
from closer_look.training.fairseq_options import PLUGIN

pytestmark = pytest.mark.filterwarnings("ignore")  # from Hydra and torch

CONTEXT = 32
ARCHITECTURES = {"language_modeling": "transformer_lm", "masked_lm": "roberta"}


@pytest.fixture
def data(tmp_path):
    """A test split of 50 sentences, and its dictionary."""
    dictionary, random = Dictionary(), np.random.default_rng(1)
    for i in range(9):
        dictionary.add_symbol(f"w{i}")
    builder = make_builder(f"{tmp_path / 'test'}.bin", "mmap", len(dictionary))
    for length in random.integers(1, 16, 50):
        builder.add_item(torch.tensor([*random.integers(4, 13, length), dictionary.eos()]))
    builder.finalize(f"{tmp_path / 'test'}.idx")
    dictionary.save(str(tmp_path / "dict.txt"))
    return tmp_path


def checkpoint(data, task):
    """Write an untrained model as fairseq does, and return where."""
    words = [str(data), f"--user-dir={PLUGIN}", "--lca-log=log", "--optimizer=lca_adam", "--cpu"]
    words += [
        f"--task={task}",
        f"--criterion={'masked_lm' if 'masked' in task else 'cross_entropy'}",
    ]
    words += [f"--arch={ARCHITECTURES[task]}", f"--tokens-per-sample={CONTEXT}"]
    stack = "encoder" if "masked" in task else "decoder"
    sizes = {"layers": 1, "embed-dim": 8, "ffn-embed-dim": 8, "attention-heads": 1}
    words += [f"--{stack}-{name}={size}" for name, size in sizes.items()]
    args = options.parse_args_and_arch(options.get_training_parser(), words)
    cfg = convert_namespace_to_omegaconf(args)
    torch.manual_seed(1)
    model = tasks.setup_task(cfg.task).build_model(cfg.model)
    state = {"cfg": cfg, "model": model.state_dict()}
    state["optimizer_history"] = [{"num_updates": 0, "lr_scheduler_state": {}}]
    state["extra_state"] = {"train_iterator": {"epoch": 1}}
    torch.save(state, data / "model.pt")
    return data / "model.pt"


@pytest.mark.parametrize("task", ARCHITECTURES)
def test_samples_longer_than_a_batch_are_scored_too(data, task, monkeypatch):
    path = checkpoint(data, task)
    expected = trained_model.TrainedModel(path, data).loss("test")
    monkeypatch.setattr(trained_model, "MAX_TOKENS", CONTEXT - 1)
    loss = trained_model.TrainedModel(path, data).loss("test")
    assert loss.tokens == expected.tokens > 0
    assert loss.nats == pytest.approx(expected.nats)
