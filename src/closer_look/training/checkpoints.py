"""fairseq's checkpoints of a run: which of them can be trusted, and where training goes on."""

import math
import pickle
import shutil
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

from lca.files import whole

from ..jobs.job import InputError

LAST = "checkpoint_last.pt"
UNUSABLE = ".unusable"


class Checkpoint(NamedTuple):
    """A checkpoint, and what fairseq counts as done up to it."""

    path: Path
    updates: int = 0
    hours: float = 0.0


class Damage(Exception):
    """Why a checkpoint cannot be used, in a few words."""


def read(path: Path) -> Checkpoint:
    """Return a checkpoint that is whole. Raises `Damage` if it is not.

    PyTorch's files are zip archives with a checksum of each tensor, which `torch.load` leaves
    unread. What is pickled in one is not run: raises `InputError` for a file with other objects
    than a checkpoint's, so that the trainer, which does unpickle, never gets it.
    """
    import torch
    from torch.serialization import safe_globals

    try:
        with zipfile.ZipFile(path) as archive:
            if member := archive.testzip():
                raise Damage(f"checksum of {member}")
        with safe_globals([Namespace]):  # fairseq's settings
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        updates = state["optimizer_history"][-1]["num_updates"]
        return Checkpoint(path, updates, state["extra_state"]["previous_training_time"] / 3600)
    except pickle.UnpicklingError as error:  # in a file that is whole
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), str(error))
        raise InputError(
            f"{path}: not a checkpoint of ours, it would run code when it is loaded: "
            f"{reason.strip()}; remove it if you do not know where it comes from"
        ) from None
    except (Damage, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # whatever a broken file makes zipfile or torch raise
        raise Damage(str(error).partition("\n")[0] or type(error).__name__) from error


def newest_checkpoint(folder: Path, reach: float = math.inf) -> Checkpoint:
    """Return the whole checkpoint of the most updates, at most `reach`, or where the first will be.

    Those that are broken or beyond `reach` are passed over.
    """
    return _newest(folder, reach)[0]


def settle(folder: Path, reach: float) -> tuple[Checkpoint, list[str]]:
    """Return the checkpoint that training goes on from, and what had to be set aside for it.

    It is the newest that is whole and that the log reaches; it is `checkpoint_last.pt` from now
    on. What fairseq could take for a newer one gets another name.
    """
    newest, unusable = _newest(folder, reach)
    for path in unusable:
        path.replace(path.with_name(path.name + UNUSABLE))
    last = folder / LAST
    if newest.path != last:
        with newest.path.open("rb") as source, whole(last) as target:
            shutil.copyfileobj(source, target)
    return newest._replace(path=last), [f"{path}: {why}" for path, why in unusable.items()]


def discard_unusable(folder: Path) -> None:
    """Remove what was set aside."""
    for path in folder.glob(f"*{UNUSABLE}"):
        path.unlink()


def _newest(folder: Path, reach: float) -> tuple[Checkpoint, dict[Path, str]]:
    """Return the newest usable checkpoint, and why those that are or may be newer are not."""
    best, unusable = Checkpoint(folder / LAST), {}
    numbered = sorted(folder.glob("checkpoint_*_*.pt"), key=_number, reverse=True)
    for path in (*folder.glob(LAST), *numbered):
        if path in numbered and _number(path) <= best.updates:
            break
        try:
            checkpoint = read(path)
        except Damage as damage:
            unusable[path] = f"damaged: {damage}"
            continue
        if checkpoint.updates > reach:
            unusable[path] = f"of update {checkpoint.updates}, the log is whole up to {reach}"
        elif checkpoint.updates > best.updates:
            best = checkpoint
    return best, unusable


def _number(path: Path) -> int:
    """Return the updates that a checkpoint's name says."""
    return int(path.stem.rpartition("_")[2])
