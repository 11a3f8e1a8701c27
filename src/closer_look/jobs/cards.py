"""The cards (CUDA devices) of a training: shared with no other, and known to this PyTorch."""

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .job import InputError

PATIENCE = 5  # seconds between two looks for a free card
ELSEWHERE = "remove it, or set TMPDIR to a folder of your own"


@contextmanager
def claimed(number: int | None = None) -> Iterator[list[int]]:
    """Hold `number` of the visible cards, by default all, waiting until they are free.

    CUDA_VISIBLE_DEVICES names them from then on. Yields the file descriptors of their locks,
    which the trainer inherits: should this process be killed, it still has its cards to itself.
    Raises `InputError` if there are fewer cards.
    """
    visible = _visible()
    number = len(visible) if number is None else number
    if number > len(visible):
        raise InputError(f"resources: gpu={number}: PyTorch sees {len(visible)} here")
    if number == 0:
        yield []
        return
    with ExitStack() as locks:
        held = _claim(visible, number, locks)
        if len(held) < number:
            print(f"waiting for {number} free of the cards {', '.join(visible)}", file=sys.stderr)
        while len(held) < number:
            locks.close()
            time.sleep(PATIENCE)
            held = _claim(visible, number, locks)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        yield list(held.values())


def check_kernels() -> None:
    """Raise `InputError` if this PyTorch has no kernels for one of the visible cards."""
    import torch

    for card in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(card)
        if not any(_runs_on(capability, built) for built in torch.cuda.get_arch_list()):
            build = "cu126" if capability < (7, 5) else "cu130"
            raise InputError(
                f"{torch.cuda.get_device_name(card)}: PyTorch {torch.__version__} has no kernels "
                f"for compute capability {capability[0]}.{capability[1]}; install the build that "
                f"has: rm -r .venv && make install TORCH={build}"
            )


def is_there() -> bool:
    """Whether this machine has a card. That it has none only PyTorch says, which loads slowly."""
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return True
    import torch

    return torch.cuda.device_count() > 0


def check_precision(precision: str, devices: int) -> None:
    """Raise `InputError` if a precision needs a card and there is none."""
    # Of bf16 without one fairseq concludes that it has TPUs.
    if not devices and precision != "fp32":
        raise InputError(
            f"training.precision: {precision} needs a CUDA device; choose fp32 for the CPU"
        )


def _runs_on(capability: tuple[int, int], built: str) -> bool:
    """Return whether kernels `built` for sm_XY, or portable ones for compute_XY, run on a card."""
    kind, _, version = built.partition("_")
    digits = version.rstrip("af")  # sm_90a
    target = int(digits[:-1]), int(digits[-1])
    if kind == "compute":
        return capability >= target
    return capability[0] == target[0] and capability[1] >= target[1]


def _visible() -> list[str]:
    """Return the names of the visible cards as CUDA_VISIBLE_DEVICES has them."""
    import torch

    count = torch.cuda.device_count()
    names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return names.split(",")[:count]


def _claim(cards: list[str], number: int, locks: ExitStack) -> dict[str, int]:
    """Lock `number` of the cards, or what is free of them; return the locks' descriptors."""
    held: dict[str, int] = {}
    with _lock_folder() as folder:
        for card in cards:
            if len(held) < number:
                lock = locks.enter_context(_open_lock(folder, card))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    held[card] = lock.fileno()
                except BlockingIOError:
                    pass
    return held


@contextmanager
def _lock_folder() -> Iterator[int]:
    """Open the folder of the locks: one a user, and one a job, as jobs may count from 0 each.

    Everybody may write where it is, and knows its name: raises `InputError` if it is not a folder
    of this user that no other can write to.
    """
    name = f"cards-{os.getuid()}-{os.environ.get('SLURM_JOB_ID', 'machine')}"
    path = Path(tempfile.gettempdir()) / name
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}; {ELSEWHERE}") from None
    try:
        status = os.fstat(folder)
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise InputError(f"{path}: another user owns it or may write to it; {ELSEWHERE}")
        yield folder
    finally:
        os.close(folder)


def _open_lock(folder: int, card: str) -> BinaryIO:
    """Open a card's lock in a folder, neither through a link nor emptying what is there."""
    name = card.replace("/", "-")  # as in the names of parts of a card, MIG-GPU-5e/1/0
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    try:
        return os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "rb+")
    except OSError as error:
        raise InputError(
            f"the lock of card {card}: {str(error.strerror).lower()}; {ELSEWHERE}"
        ) from None
