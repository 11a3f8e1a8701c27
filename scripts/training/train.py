"""Train one model with fairseq, recording LCA at every update; resumes what was interrupted.

Checkpoints and the growing log live in a folder that is not an output, since Snakemake deletes
the outputs of a job before every attempt. The folder is named after everything that shapes the
run, so that a changed setting never finds the model of another.
"""

import fcntl
import hashlib
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, NamedTuple

from closer_look.jobs import provenance
from closer_look.jobs.cards import check_kernels, claimed
from closer_look.jobs.command import run as run_tool
from closer_look.jobs.job import InputError, job
from closer_look.jobs.manifest import read_manifest, sha256, write_manifest
from closer_look.jobs.time_limit import hours_left
from closer_look.training.fairseq_options import PLUGIN, arguments
from lca.recorder import EXTRA_UPDATES, LogError, consolidate

RECIPE = 3
"""Raised by hand when a change of the code changes what a training yields."""

UNSHAPING = {"checkpoint_every"}
"""Settings that change neither the model nor its log."""

ASSUMED = {"optimizer": "adam"}
"""What a training was before there was a setting for it: left out, so that it keeps its folder."""

PATIENCE = 10
"""Seconds that the processes reading data for a trainer that was killed take to notice it."""

PACKAGES = ("torch", "ve-fairseq", "sentencepiece", "opustools", "numpy", "pyarrow")


def state_folder(root: Path, run: str, recipe: dict) -> Path:
    """Return the folder of a run's checkpoints and log, named after all that shapes the run."""
    settings = {
        key: value
        for key, value in recipe["settings"].items()
        if key not in UNSHAPING and value != ASSUMED.get(key)
    }
    shaping = json.dumps([RECIPE, recipe | {"settings": settings}], sort_keys=True)
    digest = hashlib.sha256(shaping.encode()).hexdigest()
    return Path(root) / f"{run.replace('/', '-')}-{digest[:12]}"


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder's lock, as a file descriptor that the trainer inherits.

    The trainer keeps it should this process be killed, so that a second attempt cannot write
    beside it. Raises `InputError` if somebody else holds it and does not die within `PATIENCE`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        deadline = time.monotonic() + PATIENCE
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                lock.seek(0)
                raise InputError(
                    f"{folder}: another process is training this model ({lock.read()})"
                )
            time.sleep(0.2)
        lock.truncate(0)
        number = os.environ.get("SLURM_JOB_ID")
        holder = f"Slurm job {number}" if number else f"process {os.getpid()}"
        lock.write(f"{platform.node()}, {holder}")
        lock.flush()
        yield lock.fileno()


def _try_lock(file: IO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Checkpoint(NamedTuple):
    """A checkpoint, and what fairseq counts as done up to it."""

    path: Path
    updates: int = 0
    hours: float = 0.0


def newest_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint of the most updates that can be read, or where the first will be."""
    last = folder / "checkpoint_last.pt"
    found = [_read(path) for path in (last, *folder.glob("checkpoint_*_*.pt"))]
    readable = [checkpoint for checkpoint in found if checkpoint]
    return max(readable, key=lambda checkpoint: checkpoint.updates, default=Checkpoint(last))


def _read(path: Path) -> Checkpoint | None:
    """Return a checkpoint, None if it is missing or broken."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
        updates = state["optimizer_history"][-1]["num_updates"]
        return Checkpoint(path, updates, state["extra_state"]["previous_training_time"] / 3600)
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a truncated file makes torch or pickle raise
        print(f"{path}: cannot be read, is passed over: {error}", file=sys.stderr)
        return None


def count_devices(precision: str) -> int:
    """Return the number of CUDA devices. Raises `InputError` if the precision needs one."""
    import torch

    count = torch.cuda.device_count()
    if not count and precision == "fp16":
        raise InputError("training.precision: fp16 needs a CUDA device; choose fp32 for the CPU")
    return count


def text_settings(config: dict, corpus: str) -> dict:
    """Return what of the configuration shaped the data of a corpus."""
    shared = {name: config[name] for name in ("opus_mirror", "cleaning", "bpe")}
    return {"corpus": config["corpora"][corpus], **shared}


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
    gpu: int | None = None,
    text: dict | None = None,
) -> None:
    """Train `run`, or go on with it, and write its log and manifest.

    It gets `gpu` cards, by default all. `text` is what the configuration says of the data, for the
    record. Raises `InputError` if it had to stop for the time limit.
    """
    recipe = {"run": run, "settings": settings, "data": read_manifest(data_manifest)["sha256"]}
    _, objective, languages, _, seed = run.split("/")
    folder = state_folder(state, run, recipe)
    checkpoints, parts, attempts = folder / "checkpoints", folder / "log", folder / "attempts.json"
    updates = settings["total_updates"] + EXTRA_UPDATES
    with ExitStack() as held:
        lock = held.enter_context(locked(folder))
        cards = held.enter_context(claimed(gpu))
        devices = count_devices(settings["precision"])
        check_kernels()
        checkpoint = newest_checkpoint(checkpoints)
        words = arguments(objective, languages, settings, max_tokens, devices)
        about = {"devices": provenance.devices(), "code": provenance.code()}
        held.enter_context(provenance.attempt(attempts, from_update=checkpoint.updates, **about))
        if checkpoint.updates < updates:
            options = {
                "user-dir": PLUGIN,
                "lca-log": parts,
                "save-dir": checkpoints,
                "restore-file": checkpoint.path,
                "seed": seed,
                "log-format": "simple",
                "log-interval": max(1, settings["total_updates"] // 100),
            }
            limit = hours_left()
            if limit is not None:
                options["stop-time-hours"] = checkpoint.hours + limit
            run_tool(
                "fairseq-train",
                data,
                *(f"--{name}={value}" for name, value in options.items()),
                *words,
                threads=threads,
                inherit=[lock, *cards],
            )
            done = newest_checkpoint(checkpoints).updates
            if limit is not None and done < updates:
                raise InputError(
                    f"{run}: stopped at update {done} of {settings['total_updates']}: time limit; "
                    "goes on when resubmitted"
                )
        try:
            consolidate(parts, log, settings["total_updates"])
        except LogError as error:
            raise InputError(str(error)) from None
    write_manifest(
        manifest,
        {"log": log},
        **recipe,
        text=text,
        options=shlex.join(words),
        attempts=provenance.attempts(attempts),
        devices=devices,
        max_tokens=max_tokens,
        state=str(folder),
        checkpoint_sha256=sha256(checkpoints / "checkpoint_last.pt"),
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
            gpu=snakemake.resources.get("gpu"),
            text=text_settings(snakemake.config, snakemake.wildcards.corpus),
        )
