"""Train one model with fairseq, recording LCA at every update; resumes what was interrupted.

Checkpoints and the growing log live in a folder that is not an output, since Snakemake deletes
the outputs of a job before every attempt. The folder is named after everything that shapes the
run, so that a changed setting never finds the model of another.
"""

import hashlib
import json
import platform
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from closer_look.jobs import provenance
from closer_look.jobs.cards import check_kernels, check_precision, claimed
from closer_look.jobs.command import run as run_tool
from closer_look.jobs.job import InputError, job
from closer_look.jobs.lock import locked
from closer_look.jobs.manifest import check_folder, read_manifest, sha256, write_manifest
from closer_look.jobs.time_limit import hours_left
from closer_look.training.announcer import Announcer
from closer_look.training.checkpoints import (
    LAST,
    Checkpoint,
    discard_unusable,
    newest_checkpoint,
    settle,
)
from closer_look.training.fairseq_options import PLUGIN, arguments
from closer_look.training.fixed_text import check_fixed_text
from closer_look.training.left_out import count_left_out
from closer_look.training.micro_batches import LONGEST
from lca.recorder import EXTRA_UPDATES, LogError, consolidate, reached

RECIPE = 5
"""Raised by hand when a change of the code changes what a training yields."""

NOT_HASHED = {"checkpoint_every"}
"""Settings that change neither the model nor its log."""

HASH_DEFAULTS = {"optimizer": "adam", "max_sentence_pieces": LONGEST}
"""What a training was before there was a setting for it: left out, so that it keeps its folder."""

PACKAGES = ("torch", "ve-fairseq", "sentencepiece", "opustools", "numpy", "pyarrow")


def state_folder(root: Path, run: str, recipe: dict) -> Path:
    """Return the folder of a run's checkpoints and log, named after all that shapes the run."""
    settings = {
        key: value
        for key, value in recipe["settings"].items()
        if key not in NOT_HASHED and value != HASH_DEFAULTS.get(key)
    }
    shaping = json.dumps([RECIPE, recipe | {"settings": settings}], sort_keys=True)
    digest = hashlib.sha256(shaping.encode()).hexdigest()
    return Path(root) / f"{run.replace('/', '-')}-{digest[:12]}"


def count_devices(precision: str) -> int:
    """Return the number of CUDA devices. Raises `InputError` if the precision needs one."""
    import torch

    count = torch.cuda.device_count()
    check_precision(precision, count)
    return count


def text_settings(config: dict, corpus: str) -> dict:
    """Return what of the configuration shaped the data of a corpus."""
    shared = {name: config[name] for name in ("opus_mirror", "cleaning", "bpe")}
    return {"corpus": config["corpora"][corpus], **shared}


@dataclass(frozen=True)
class Training:
    """A run to be trained: all that shapes it, with what means, and where its results go."""

    run: str
    settings: dict
    data: Path
    data_manifest: Path
    state: Path
    max_tokens: int
    threads: int
    log: Path
    manifest: Path
    gpu: int | None = None
    """Cards, by default all that are visible."""
    text: dict | None = None
    """What the configuration says of the data, for the record."""
    max_dropped: float = 1
    """The share of the text that may be too long to be trained on."""

    @cached_property
    def recipe(self) -> dict:
        """All that shapes the run."""
        data = read_manifest(self.data_manifest)["sha256"]
        return {"run": self.run, "settings": self.settings, "data": data}

    @cached_property
    def folder(self) -> Path:
        """The folder of its state."""
        return state_folder(self.state, self.run, self.recipe)

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.folder / "checkpoints"

    @property
    def parts(self) -> Path:
        """The folder of the growing log."""
        return self.folder / "log"

    @property
    def attempts(self) -> Path:
        """The list of the attempts at it."""
        return self.folder / "attempts.json"

    @property
    def updates(self) -> int:
        """The update after which it is done."""
        return self.settings["total_updates"] + EXTRA_UPDATES

    def arguments(self, devices: int) -> list[str]:
        """Return fairseq-train's arguments that shape the run on so many cards."""
        _, objective, languages, *_ = self.run.split("/")
        return arguments(objective, languages, self.settings, self.max_tokens, devices)

    def count_left_out(self) -> dict:
        """Count what is too long to be trained on; an `InputError` above `max_dropped`."""
        _, objective, languages, *_ = self.run.split("/")
        return count_left_out(
            self.run, self.data, objective, languages, self.settings, self.max_dropped
        )


def main(training: Training) -> None:
    """Train a run, or go on with it, and write its log and manifest.

    Raises `InputError` if it had to stop for the time limit, if the data is not what its manifest
    says, if more than the share `max_dropped` of the text is too long to be trained on, if far more
    text is to be measured on than there is, or as `finish` does.
    """
    with ExitStack() as held:
        lock = held.enter_context(locked(training.folder))
        cards = held.enter_context(claimed(training.gpu))
        devices = count_devices(training.settings["precision"])
        check_kernels()
        options = training.arguments(devices)
        check_folder(training.data, training.data_manifest)
        check_fixed_text(training.settings, read_manifest(training.data_manifest)["parts"])
        left_out = training.count_left_out()
        checkpoint, damages = resume(training)
        about = {"devices": provenance.devices(), "code": provenance.code()}
        about |= {"from_update": checkpoint.updates, "damages": damages}
        with provenance.attempt(training.attempts, **about):
            if checkpoint.updates < training.updates:
                fit(training, checkpoint, options, inherit=[lock, *cards])
        finish(training, options, left_out, devices)


def resume(training: Training) -> tuple[Checkpoint, list[str]]:
    """Return the checkpoint to go on from, and what was found damaged, line by line.

    It is the newest that is whole and that the log reaches; without one training begins anew.
    """
    reach, damage = reached(training.parts)
    checkpoint, unusable = settle(training.checkpoints, reach)
    damages = [damage] * bool(damage) + unusable
    for line in damages:
        print(line, file=sys.stderr)
    if damages or reach:
        where = f"goes on from update {checkpoint.updates}" if checkpoint.updates else "begins anew"
        print(f"{training.run}: {where}", file=sys.stderr)
    return checkpoint, damages


def fit(training: Training, checkpoint: Checkpoint, options: list[str], inherit: list[int]) -> None:
    """Have fairseq train from a checkpoint to the end, or as far as the time limit allows.

    Raises `InputError` in the latter case.
    """
    total = training.settings["total_updates"]
    of_attempt = {
        "user-dir": PLUGIN,
        "lca-log": training.parts,
        "save-dir": training.checkpoints,
        "restore-file": checkpoint.path,
        "seed": training.run.split("/")[-1],
        "log-format": "simple",
        "log-interval": max(1, total // 100),
    }
    limit = hours_left()
    if limit is not None:
        of_attempt["stop-time-hours"] = checkpoint.hours + limit
    run_tool(
        "fairseq-train",
        training.data,
        *(f"--{name}={value}" for name, value in of_attempt.items()),
        *options,
        threads=training.threads,
        inherit=inherit,
        listener=Announcer(training.run, total),
    )
    done = newest_checkpoint(training.checkpoints).updates
    if limit is not None and done < training.updates:
        raise InputError(
            f"{training.run}: stopped at update {done} of {total}: time limit; "
            "goes on when resubmitted"
        )


def finish(training: Training, options: list[str], left_out: dict, devices: int) -> None:
    """Write the log and the manifest of a training that is done.

    Raises `InputError` if rows of the log are missing or damaged.
    """
    try:
        consolidate(training.parts, training.log, training.settings["total_updates"])
    except LogError as error:
        raise InputError(f"{error}; the next attempt goes back to where it is whole") from None
    write_manifest(
        training.manifest,
        {"log": training.log},
        **training.recipe,
        text=training.text,
        options=shlex.join(options),
        left_out=left_out,
        attempts=provenance.attempts(training.attempts),
        devices=devices,
        max_tokens=training.max_tokens,
        state=str(training.folder),
        checkpoint_sha256=sha256(training.checkpoints / LAST),
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
    )
    discard_unusable(training.checkpoints)


if __name__ == "__main__":
    with job(snakemake):
        main(
            Training(
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
                max_dropped=snakemake.config["cleaning"]["max_dropped"],
            )
        )
