"""Toy models of the three architectures, with batches, as fairseq builds them."""

from argparse import Namespace
from types import SimpleNamespace

import torch
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel
from fairseq.models.transformer import TransformerModel
from fairseq.models.transformer_lm import TransformerLanguageModel, base_lm_architecture
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

LAYERS, HEADS, DIM, FFN, VOCABULARY = 2, 2, 16, 24, 40
OBJECTIVES = ("mlm", "clm", "mt")


def model(objective: str, vocabulary: int = VOCABULARY, **options) -> nn.Module:
    """Return a small model of the objective's architecture; `options` are fairseq's."""
    torch.manual_seed(1)
    dictionary = Dictionary()
    for number in range(vocabulary):
        dictionary.add_symbol(f"w{number}")
    task = SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
    task.dictionary = dictionary
    args = Namespace(dropout=0.0, attention_dropout=0.0, activation_fn="relu")
    for stack in ("encoder", "decoder"):
        settings = dict(layers=LAYERS, attention_heads=HEADS, embed_dim=DIM, ffn_embed_dim=FFN)
        for name, value in settings.items():
            setattr(args, f"{stack}_{name}", value)
    args.tokens_per_sample = args.max_positions = 32
    args.max_source_positions = args.max_target_positions = 32
    vars(args).update(options)
    if objective == "clm":
        base_lm_architecture(args)
    classes = {"mlm": RobertaModel, "clm": TransformerLanguageModel, "mt": TransformerModel}
    return classes[objective].build_model(args, task).eval()


def loss(objective: str, model: nn.Module, seed: int) -> Tensor:
    """Return the loss (nats per predicted token) of a random batch of 3 sequences."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    source, target = torch.randint(4, VOCABULARY, (2, 3, 7), generator=generator)
    if objective == "mt":
        output, _ = model(source, torch.full((3,), 7), target.roll(1, dims=1))
    else:
        output, _ = model(source)
    return cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))
