"""fairseq's own Trainer on toy data, as the tests drive it update by update."""

from pathlib import Path

import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.data import Dictionary, indexed_dataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer

PLUGIN = "src/lca/fairseq_plugin"
ARCHITECTURES = {
    "clm": ["--task=language_modeling", "--arch=transformer_lm", "--criterion=cross_entropy"],
    "mlm": ["--task=masked_lm", "--arch=roberta", "--criterion=masked_lm"],
    "mt": ["--task=translation", "--arch=transformer", "--criterion=cross_entropy"],
}
VALID = ("valid", "valid.en-de.en", "valid.en-de.de")
PRECISIONS = {"bf16": ["bf16"], "fp16": ["fp16", "fp16_no_flatten_grads"]}
"""As settings; on the CPU, fairseq cannot make fp16's float32 copy a flat one."""

SIZES = dict(layers=2, embed_dim=16, ffn_embed_dim=32, attention_heads=2)


def write_data(folder: Path, number: int = 60, length: int = 8, vocabulary: int = 20) -> Path:
    """Write `number` random sentences of a language, and as many of another; 10 held out."""
    dictionary = Dictionary()
    for word in range(vocabulary):
        dictionary.add_symbol(f"w{word}")
    generator = torch.Generator().manual_seed(3)
    sentences = torch.randint(4, 4 + vocabulary, (number, length), generator=generator)
    size = len(dictionary)
    for name in ("train", "train.en-de.en", "train.en-de.de", *VALID):
        builder = indexed_dataset.make_builder(str(folder / f"{name}.bin"), "mmap", vocab_size=size)
        for sentence in sentences[:10] if name in VALID else sentences:
            builder.add_item(torch.cat([sentence, torch.tensor([dictionary.eos()])]))
        builder.finalize(str(folder / f"{name}.idx"))
    for name in ("dict.txt", "dict.en.txt", "dict.de.txt"):
        dictionary.save(str(folder / name))
    return folder


def start(
    data,
    folder,
    objective,
    *more,
    optimizer="lca_adam",
    common=(),
    workers=(0, 1),
    on=("--cpu",),
):
    """Return a trainer, restored from the folder's checkpoint if there is one, and its batches.

    `on` are the options of device and precision, `common` settings for which fairseq's command line
    wants an accelerator; `workers` are the rank of this process and their number.
    """
    stacks = {"clm": ["decoder"], "mlm": ["encoder"], "mt": ["encoder", "decoder"]}[objective]
    arguments = [
        str(data),
        f"--user-dir={PLUGIN}",
        *ARCHITECTURES[objective],
        *(f"--{s}-{k.replace('_', '-')}={v}" for s in stacks for k, v in SIZES.items()),
        *([] if objective == "mt" else ["--tokens-per-sample=9"]),
        *(["--source-lang=en", "--target-lang=de"] if objective == "mt" else []),
        *([f"--lca-log={folder}/log"] if optimizer.startswith("lca_") else []),
        *(f"--optimizer={optimizer}", "--lr=0.01", "--weight-decay=0.01"),
        *("--dropout=0.1", "--batch-size=5", f"--save-dir={folder}/checkpoints"),
        *("--num-workers=0", *on),
        *more,
    ]
    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, arguments))
    for setting in common:
        cfg.common[setting] = True
    cfg.distributed_training.distributed_rank = workers[0]
    cfg.distributed_training.distributed_world_size = workers[1]
    utils.set_torch_seed(1)
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    _, epoch = checkpoint_utils.load_checkpoint(cfg.checkpoint, trainer)
    batches = list(epoch.next_epoch_itr(shuffle=False))
    size = cfg.optimization.update_freq[0]
    return trainer, [batches[i : i + size] for i in range(0, len(batches), size)]


def parameters(trainer):
    """Return the parameters that the optimizer moves: with bf16 the float32 copies."""
    return [p.detach().clone() for p in trainer.optimizer.optimizer.param_groups[0]["params"]]


def gradients(trainer):
    return [p.grad.float() for p in trainer.optimizer.optimizer.param_groups[0]["params"]]


def dot(gradient, before, after):
    return sum(
        (g.double() * (b.double() - a.double())).sum().item()
        for g, a, b in zip(gradient, before, after, strict=True)
    )


def rows_of(trainer: Trainer) -> list[dict]:
    """Return the rows that are recorded and not yet written, by their columns."""
    names = trainer.lca.recorder.schema.names
    return [dict(zip(names, row, strict=True)) for row in trainer.lca.recorder.rows]
