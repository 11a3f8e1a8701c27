"""The settings of a training as `fairseq-train`'s options (paper, section 3 and appendix A)."""

from pathlib import Path

import lca
from lca.recorder import EXTRA_UPDATES

from ..trees import Tree
from .micro_batches import check_fits, longest_sentence, micro_batches

PLUGIN = Path(lca.__file__).parent / "fairseq_plugin"
"""For `fairseq-train --user-dir`."""

ARCHITECTURES = {"mlm": "roberta", "clm": "transformer_lm", "mt": "transformer"}
STACKS = {"mlm": ["encoder"], "clm": ["decoder"], "mt": ["encoder", "decoder"]}

SWITCHES: dict[str, dict[tuple[str, object], list[str]]] = {
    "mlm": {("tie_output", False): ["--untie-weights-roberta"]},
    "clm": {
        ("tie_output", True): ["--share-decoder-input-output-embed"],
        ("positions", "learned"): ["--decoder-learned-pos"],
        ("embedding_norm", True): ["--layernorm-embedding"],
        ("scale_embeddings", False): ["--no-scale-embedding"],
    },
    "mt": {
        ("tie_output", True): ["--share-decoder-input-output-embed"],
        ("positions", "learned"): ["--encoder-learned-pos", "--decoder-learned-pos"],
        ("embedding_norm", True): ["--layernorm-embedding"],
        ("scale_embeddings", False): ["--no-scale-embedding"],
    },
}
"""The flags that make an architecture differ from fairseq's default, by setting and value."""

BREAKS = {"mlm": "complete", "clm": "none"}
"""Where a language model's samples begin by default (fairseq's --sample-break-mode)."""


def sample_break(objective: str, settings: Tree) -> object:
    """Return where a model's samples begin: none, complete or eos; each pair is one to mt."""
    return _chosen(settings, "sample_break", objective) or BREAKS.get(objective, "eos")


def arguments(
    objective: str, languages: str, settings: Tree, max_tokens: int, devices: int
) -> list[str]:
    """Return fairseq-train's arguments for an objective (paper, appendix A), paths excepted.

    `max_tokens` is what fits one device; none of the `devices` (0) means the CPU. Raises
    `InputError` if no micro-batches make the update or hold a sample.
    """
    tokens, number = micro_batches(settings["tokens_per_update"], max_tokens, devices)
    updates = settings["total_updates"]
    options = {
        **architecture(objective, settings),
        **_task(objective, languages, settings, tokens),
        "dropout": settings["dropout"],
        "attention-dropout": settings["attention_dropout"],
        "activation-fn": settings["activation"],
        **_optimizer(settings),
        "weight-decay": settings["weight_decay"],
        "clip-norm": settings["clip_norm"],
        "lr": settings["lr"],
        "lr-scheduler": "polynomial_decay",
        "warmup-updates": settings["warmup_updates"],
        "total-num-update": updates,
        # Updates at learning rate 0, whose gradients complete the last values of the log.
        "max-update": updates + EXTRA_UPDATES,
        "max-tokens": tokens,
        "update-freq": number,
        # With another, fairseq leaves out the last samples of an epoch, which are the longest.
        "required-batch-size-multiple": 1,
        "save-interval-updates": settings["checkpoint_every"],
        "keep-interval-updates": 2,
        # Make batches anew in every epoch, as a training that is resumed in that epoch does.
        "update-epoch-batch-itr": True,
        **{f"lca-trapezoid-{name}": value for name, value in settings["trapezoid"].items()},
        "lca-probe-every": settings["probe"]["every"],
        "lca-probe-tokens": settings["probe"]["tokens"],
        "lca-probe-loss-tokens": settings["probe"]["loss_tokens"],
    }
    flags = _flags(objective, settings, devices)
    return [f"--{name}={value}" for name, value in options.items()] + flags


def architecture(objective: str, settings: Tree) -> Tree:
    """Return the options of the architecture; translation halves the layers between its stacks."""
    stacks = STACKS[objective]
    options: Tree = {"arch": ARCHITECTURES[objective]}
    if objective == "mlm" and _chosen(settings, "embedding_norm", objective) is False:
        options["arch"] = "roberta_prenorm"  # the same without it; there is no option
    for stack in stacks:
        options |= {
            f"{stack}-layers": settings["layers"] // len(stacks),
            f"{stack}-embed-dim": settings["embed_dim"],
            f"{stack}-ffn-embed-dim": settings["ffn_dim"],
            f"{stack}-attention-heads": settings["heads"],
        }
    if objective == "clm":  # otherwise 512 wide, and projected, whatever the model's width
        options |= dict.fromkeys(("decoder-input-dim", "decoder-output-dim"), settings["embed_dim"])
    return options


def _chosen(settings: Tree, key: str, objective: str) -> object:
    """Return a setting that may be by objective as this one has it, None if it is not given."""
    value = settings.get(key)
    return value.get(objective) if isinstance(value, dict) else value


def _optimizer(settings: Tree) -> Tree:
    """Return the options of the optimizer with LCA."""
    if settings["optimizer"] == "sgd":
        return {"optimizer": "lca_sgd", "momentum": settings["momentum"]}
    return {
        "optimizer": "lca_adam",
        "adam-betas": str(tuple(settings["adam_betas"])),
        "adam-eps": settings["adam_eps"],
    }


def _flags(objective: str, settings: Tree, devices: int) -> list[str]:
    """Return the options without a value."""
    flags = ["--no-epoch-checkpoints", "--disable-validation"]
    if settings["norm"][objective] == "pre":
        flags += [f"--{stack}-normalize-before" for stack in STACKS[objective]]
    for (key, value), switches in SWITCHES[objective].items():
        flags += switches if _chosen(settings, key, objective) == value else []
    if settings["precision"] != "fp32":
        flags.append(f"--{settings['precision']}")
    if devices == 0:
        flags.append("--cpu")
    return flags


def _task(objective: str, languages: str, settings: Tree, tokens: int) -> Tree:
    """Return the options of the task and its loss: cross-entropy, without smoothing.

    `tokens` are those of a micro-batch, into which every sample has to fit.
    """
    context, longest = settings["tokens_per_sample"], longest_sentence(settings)
    break_mode = sample_break(objective, settings)
    check_fits(objective, settings, tokens)
    if objective == "mlm":  # RoBERTa's dynamic masking: 15 %, of these 80/10/10
        return {
            "task": "masked_lm",
            "criterion": "masked_lm",
            "tokens-per-sample": context,
            "sample-break-mode": break_mode,
            "mask-prob": 0.15,
            "leave-unmasked-prob": 0.1,
            "random-token-prob": 0.1,
        }
    if objective == "clm":
        return {
            "task": "language_modeling",
            "criterion": "cross_entropy",
            "tokens-per-sample": context,
            "sample-break-mode": break_mode,
        }
    source, target = languages.split("-")
    return {
        "task": "translation",
        "criterion": "cross_entropy",
        "source-lang": source,
        "target-lang": target,
        # What is longer is left out, instead of ending the training.
        "max-source-positions": longest,
        "max-target-positions": longest,
    }
