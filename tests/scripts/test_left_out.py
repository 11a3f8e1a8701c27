"""What is left out for its length, against fairseq's own view of the same data."""

from itertools import chain

import numpy as np
import pytest
import torch
import yaml
from fairseq import options, tasks, utils
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset, make_builder
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from test_train import CONFIG, LANGUAGES

from closer_look.jobs.job import InputError
from closer_look.training.fairseq_options import arguments
from closer_look.training.left_out import count_left_out, is_left_out
from closer_look.training.micro_batches import LONGEST, check_fits, longest_sentence
from scripts.training import train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # from Hydra

PAPER = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["training"]
TINY = dict(
    layers=2,
    heads=2,
    embed_dim=4,
    ffn_dim=4,
    precision="fp32",
    norm=dict.fromkeys(LANGUAGES, "pre"),
)
TINY |= dict(tokens_per_update=64, tokens_per_sample=10, max_sentence_pieces=10)
SETTINGS = PAPER | TINY


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sentences of 1 to 15 pieces and an end mark, of each language a length of its own."""
    folder = tmp_path_factory.mktemp("data")
    dictionary = Dictionary()
    for i in range(9):
        dictionary.add_symbol(f"w{i}")
    random = np.random.default_rng(1)
    for name in ("train.en-de.en", "train.en-de.de", "train"):
        builder = make_builder(f"{folder / name}.bin", "mmap", len(dictionary))
        for length in random.integers(1, 16, 100):
            builder.add_item(torch.tensor([*random.integers(4, 13, length), dictionary.eos()]))
        builder.finalize(f"{folder / name}.idx")
    for name in ("dict.txt", "dict.en.txt", "dict.de.txt"):
        dictionary.save(str(folder / name))
    return folder


def trained_on(data, objective, settings, max_tokens):
    """Return the numbers of the samples that fairseq makes batches of, and the pieces of each."""
    words = arguments(objective, LANGUAGES[objective], settings, max_tokens, devices=0)
    words = [str(data), f"--user-dir={train.PLUGIN}", "--lca-log=log", *words]
    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, words))
    task = tasks.setup_task(cfg.task)
    task.load_dataset("train")
    limits = task.max_positions(), task.build_model(cfg.model).max_positions()
    batches = task.get_batch_iterator(
        task.dataset("train"),
        max_tokens=cfg.dataset.max_tokens,
        max_positions=utils.resolve_max_positions(*limits, cfg.dataset.max_tokens),
        ignore_invalid_inputs=True,
        required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
    )
    samples = sorted(chain.from_iterable(batches.frozen_batches))
    return samples, [task.dataset("train").num_tokens(sample) for sample in samples]


@pytest.mark.parametrize("max_tokens", [10, 16, 32, 1000])
def test_fairseq_leaves_out_what_is_counted_whatever_a_card_holds(data, max_tokens):
    settings = SETTINGS | {"tokens_per_update": 960}
    long = is_left_out(data, "train", "mt", "en-de", settings)
    assert trained_on(data, "mt", settings, max_tokens)[0] == np.flatnonzero(~long).tolist()
    assert 20 < long.sum() < 90


@pytest.mark.parametrize("context", [5, 9, 10, 15, 16, 17])
@pytest.mark.parametrize("mode", ["none", "complete", "eos"])
@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_of_language_models_what_fairseq_leaves_out_is_counted(data, objective, mode, context):
    settings = SETTINGS | {"tokens_per_sample": context, "sample_break": mode}
    by_objective = settings | {"sample_break": {"mlm": mode, "clm": mode}}
    long = is_left_out(data, "train", objective, "en", settings)
    assert (is_left_out(data, "train", objective, "en", by_objective) == long).all()
    samples, pieces = trained_on(data, objective, by_objective, 32)
    begins = len(samples) if objective == "mlm" else 0  # each with <s>
    dataset = MMapIndexedDataset(str(data / "train"))  # unmaps its sizes when it goes
    assert sum(pieces) - begins == dataset.sizes[~long].sum()
    longest = 16 + (objective == "mlm")
    assert long.any() == (mode != "none" and context < longest)


@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_by_default_only_a_masked_model_leaves_sentences_out(data, objective):
    assert is_left_out(data, "train", objective, "en", SETTINGS).any() == (objective == "mlm")


@pytest.mark.parametrize(
    ("objective", "limit", "what"),
    [
        ("mt", "10 pieces (training.max_sentence_pieces)", "pairs"),
        ("mlm", "9 pieces (training.tokens_per_sample)", "sentences"),
        ("clm", "10 pieces (training.tokens_per_sample)", "sentences"),
    ],
)
def test_what_is_left_out_is_said_and_refused_above_a_share(data, capsys, objective, limit, what):
    whole = SETTINGS | {"sample_break": "complete"}
    arguments = ("c/x", data, objective, LANGUAGES[objective], whole)
    number = count_left_out(*arguments, max_dropped=1)["sentences"]
    said = f"c/x: {number} of 100 training {what} are longer than {limit} and left out\n"
    assert capsys.readouterr().out == said
    with pytest.raises(InputError) as error:
        count_left_out(*arguments, max_dropped=0.1)
    assert str(error.value).startswith(
        f"c/x: of the training {what}: {number} of 100 would be left out: {number} longer than "
        f"{limit}: more than the share cleaning.max_dropped (0.1); "
    )
    settings = SETTINGS | {"max_sentence_pieces": 16, "tokens_per_sample": 17}
    assert count_left_out(*arguments[:-1], settings, 0) == {"sentences": 0, "of": 100}


def test_the_setting_that_decided_is_named(data, capsys):
    settings = SETTINGS | {"tokens_per_update": 9}
    count_left_out("c/x", data, "mt", "en-de", settings, max_dropped=1)
    assert "are longer than 9 pieces (training.tokens_per_update) and" in capsys.readouterr().out
    message = "^training.tokens_per_update: 9 do not fit a micro-batch of 8 tokens: "
    with pytest.raises(InputError, match=message):
        check_fits("mt", settings, 8)


def test_the_longest_sentence_is_the_experiments():
    assert longest_sentence(PAPER) == LONGEST == 1024
    without = {key: value for key, value in PAPER.items() if key != "max_sentence_pieces"}
    assert longest_sentence(without) == 1024
    assert longest_sentence(PAPER | {"tokens_per_update": 512}) == 512
    assert longest_sentence(PAPER | {"max_sentence_pieces": 300}) == 300
