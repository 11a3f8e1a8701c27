"""Train one model with fairseq, recording LCA at every update; resumes what was interrupted.

Checkpoints and the growing log live in a folder that is not an output, since Snakemake deletes
the outputs of a job before every attempt. The folder is named after everything that shapes the
run, so that a changed setting never finds the model of another.
"""

import fcntl
import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from command import run as run_tool
from job import InputError, job
from lca.recorder import LogError, consolidate
from manifest import read_manifest, sha256, write_manifest

RECIPE = 1
"""Raised by hand when a change of the code changes what a training yields."""

ARCHITECTURES = {"mlm": "roberta", "clm": "transformer_lm", "mt": "transformer"}
STACKS = {"mlm": ["encoder"], "clm": ["decoder"], "mt": ["encoder", "decoder"]}
PLUGIN = Path(__file__).parent / "lca" / "fairseq_plugin"
PACKAGES = ("torch", "ve-fairseq", "sentencepiece", "opustools", "numpy", "pyarrow")


def state_folder(root: Path, run: str, recipe: dict) -> Path:
    """Return the folder of a run's checkpoints and log, named after all that shapes the run."""
    digest = hashlib.sha256(json.dumps([RECIPE, recipe], sort_keys=True).encode()).hexdigest()
    return Path(root) / f"{run.replace('/', '-')}-{digest[:12]}"


def arguments(
    objective: str, languages: str, settings: dict, max_tokens: int, devices: int
) -> list[str]:
    """Return fairseq-train's arguments for an objective (paper, appendix A), paths excepted.

    `max_tokens` is what fits one device; none of the `devices` (0) means the CPU.
    """
    tokens, number = micro_batches(settings["tokens_per_update"], max_tokens, devices)
    updates = settings["total_updates"]
    options = {
        **_model(objective, settings),
        **_task(objective, languages, settings),
        "dropout": settings["dropout"],
        "attention-dropout": settings["attention_dropout"],
        "activation-fn": settings["activation"],
        "optimizer": "lca_adam",
        "adam-betas": str(tuple(settings["adam_betas"])),
        "adam-eps": settings["adam_eps"],
        "weight-decay": settings["weight_decay"],
        "clip-norm": settings["clip_norm"],
        "lr": settings["lr"],
        "lr-scheduler": "polynomial_decay",
        "warmup-updates": settings["warmup_updates"],
        "total-num-update": updates,
        # One update more, at learning rate 0: its gradient completes the last next-batch value.
        "max-update": updates + 1,
        "max-tokens": tokens,
        "update-freq": number,
        "save-interval-updates": settings["checkpoint_every"],
        "keep-interval-updates": 2,
    }
    flags = _flags(objective, settings, devices)
    return [f"--{name}={value}" for name, value in options.items()] + flags


def _model(objective: str, settings: dict) -> dict:
    """Return the options of the architecture; translation halves the layers between its stacks."""
    stacks = STACKS[objective]
    options = {"arch": ARCHITECTURES[objective]}
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


def _flags(objective: str, settings: dict, devices: int) -> list[str]:
    """Return the options without a value."""
    flags = ["--no-epoch-checkpoints", "--disable-validation"]
    if settings["norm"][objective] == "pre":
        flags += [f"--{stack}-normalize-before" for stack in STACKS[objective]]
    if settings["precision"] != "fp32":
        flags.append(f"--{settings['precision']}")
    if devices == 0:
        flags.append("--cpu")
    return flags


def _task(objective: str, languages: str, settings: dict) -> dict:
    """Return the options of the task and its loss: cross-entropy, without smoothing."""
    context = settings["tokens_per_sample"]
    if objective == "mlm":  # RoBERTa's dynamic masking: 15 %, of these 80/10/10
        return {
            "task": "masked_lm",
            "criterion": "masked_lm",
            "tokens-per-sample": context,
            "sample-break-mode": "complete",
            "mask-prob": 0.15,
            "leave-unmasked-prob": 0.1,
            "random-token-prob": 0.1,
        }
    if objective == "clm":
        return {
            "task": "language_modeling",
            "criterion": "cross_entropy",
            "tokens-per-sample": context,
            "sample-break-mode": "none",
        }
    source, target = languages.split("-")
    return {
        "task": "translation",
        "criterion": "cross_entropy",
        "source-lang": source,
        "target-lang": target,
    }


def micro_batches(tokens_per_update: int, max_tokens: int, devices: int) -> tuple[int, int]:
    """Return the tokens of a micro-batch on one device, at most `max_tokens`, and their number.

    Raises `InputError` if no equal micro-batches make the update.
    """
    devices = max(devices, 1)
    number = -(-tokens_per_update // (max_tokens * devices))
    tokens, rest = divmod(tokens_per_update, number * devices)
    if rest:
        raise InputError(
            f"training.tokens_per_update: {tokens_per_update} is not divisible into {number} equal "
            f"micro-batches on {devices} device(s) of at most {max_tokens} tokens (max_tokens)"
        )
    return tokens, number


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder's lock, as a file descriptor that the trainer inherits.

    The trainer keeps it should this process be killed, so that a second attempt cannot write
    beside it. Raises `InputError` if somebody else holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another process is training this model") from None
        yield lock.fileno()


def newest_checkpoint(folder: Path) -> Path:
    """Return the checkpoint of the most updates that can be read, or where the first will be."""
    last = folder / "checkpoint_last.pt"
    numbered = sorted(folder.glob("checkpoint_*_*.pt"), key=_updates, reverse=True)
    readable = {path: updates for path in (last, *numbered) if (updates := _restorable(path))}
    return max(readable, key=readable.get, default=last)


def _updates(checkpoint: Path) -> int:
    return int(checkpoint.stem.rsplit("_", 1)[1])


def _restorable(checkpoint: Path) -> int | None:
    """Return the number of updates of a checkpoint, None if it is missing or broken."""
    import torch

    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)
        return state["optimizer_history"][-1]["num_updates"]
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a truncated file makes torch or pickle raise
        print(f"{checkpoint}: cannot be read, is passed over: {error}", file=sys.stderr)
        return None


def count_devices(precision: str) -> int:
    """Return the number of CUDA devices. Raises `InputError` if the precision needs one."""
    import torch

    count = torch.cuda.device_count()
    if not count and precision == "fp16":
        raise InputError("training.precision: fp16 needs a CUDA device; choose fp32 for the CPU")
    return count


def main(
    run: str,
    settings: dict,
    data: Path,
    data_manifest: Path,
    state: Path,
    max_tokens: int,
    threads: int,
    log: Path,
    manifest: Path,
) -> None:
    """Train `run`, or go on with it, and write its log and manifest."""
    shaping = {key: value for key, value in settings.items() if key != "checkpoint_every"}
    recipe = {"run": run, "settings": shaping, "data": read_manifest(data_manifest)["sha256"]}
    _, objective, languages, _, seed = run.split("/")
    folder = state_folder(state, run, recipe)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with locked(folder) as lock:
        checkpoints, parts = folder / "checkpoints", folder / "log"
        devices = count_devices(settings["precision"])
        checkpoint = newest_checkpoint(checkpoints)
        if (_restorable(checkpoint) or 0) <= settings["total_updates"]:
            options = {
                "user-dir": PLUGIN,
                "lca-log": parts,
                "save-dir": checkpoints,
                "restore-file": checkpoint,
                "seed": seed,
                "log-format": "simple",
                "log-interval": max(1, settings["total_updates"] // 100),
            }
            run_tool(
                "fairseq-train",
                data,
                *(f"--{name}={value}" for name, value in options.items()),
                *arguments(objective, languages, settings, max_tokens, devices),
                threads=threads,
                inherit=[lock],
            )
        try:
            consolidate(parts, log, settings["total_updates"])
        except LogError as error:
            raise InputError(str(error)) from None
    write_manifest(
        manifest,
        {"log": log},
        **recipe,
        started=started,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        devices=devices,
        max_tokens=max_tokens,
        state=str(folder),
        checkpoint_sha256=sha256(checkpoints / "checkpoint_last.pt"),
        host=platform.node(),
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
    )


if __name__ == "__main__":
    with job(snakemake):
        main(
            run=snakemake.params.run,
            settings=snakemake.params.settings,
            data=Path(snakemake.input.data),
            data_manifest=Path(snakemake.input.manifest),
            state=Path(snakemake.params.state),
            max_tokens=snakemake.resources.max_tokens,
            threads=snakemake.threads,
            log=Path(snakemake.output.log),
            manifest=Path(snakemake.output.manifest),
        )
