import os
import subprocess
import sys
import threading

import pytest
import torch

from closer_look.jobs import cards
from closer_look.jobs.cards import check_kernels, claimed
from closer_look.jobs.job import InputError


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Return a function that gives this machine a number of cards; it has none otherwise."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cards, "PATIENCE", 0.05)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)

    def has(number):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)

    has(0)
    return has


def taken():
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_without_cards_there_is_nothing_to_claim():
    with claimed() as locks:
        assert locks == []
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def claim_next(monkeypatch):
    """Claim one card as another process does, to which the environment is as it was."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    return claimed(1)


def test_no_card_is_given_to_two(machine, monkeypatch):
    machine(2)
    with claimed(1):
        first = taken()
        with claim_next(monkeypatch):
            assert {first, taken()} == {"0", "1"}
        with claim_next(monkeypatch):  # again: it was given back
            assert {first, taken()} == {"0", "1"}


def test_who_finds_no_free_card_waits(machine, monkeypatch):
    machine(1)
    entered = threading.Event()

    def wait():
        with claimed(1):
            entered.set()

    with claimed(1):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(0.3)
    waiting.join(10)
    assert entered.is_set()


def test_all_cards_are_claimed_unless_a_number_is_given(machine):
    machine(3)
    with claimed() as locks:
        assert taken() == "0,1,2"
        assert len(locks) == 3


def test_the_visible_cards_keep_their_names(machine, monkeypatch):
    machine(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5e,3")
    with claimed(1):
        assert taken() == "GPU-5e"


def test_more_cards_than_there_are_is_refused(machine):
    machine(1)
    with pytest.raises(InputError, match="^resources: gpu=2: PyTorch sees 1 here"), claimed(2):
        pass


def test_jobs_that_count_their_cards_from_0_do_not_wait_for_each_other(machine, monkeypatch):
    machine(1)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with claimed():
        monkeypatch.setenv("SLURM_JOB_ID", "2")
        with claim_next(monkeypatch):
            assert taken() == "0"


def test_the_trainer_of_a_dead_process_keeps_its_card(machine, monkeypatch):
    machine(2)
    with claimed(1) as locks:
        first = taken()
        trainer = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=locks
        )
    try:
        with claim_next(monkeypatch):
            assert taken() != first
    finally:
        trainer.communicate(b"\n")
    with claim_next(monkeypatch):
        assert taken() == first


def lock_folder(tmp_path):
    return tmp_path / f"cards-{os.getuid()}-machine"


def test_a_part_of_a_card_is_locked_too(machine, monkeypatch):
    machine(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-5e/1/0")
    with claimed():
        assert taken() == "MIG-GPU-5e/1/0"


def test_the_locks_are_their_owners_alone(machine, tmp_path):
    machine(1)
    with claimed():
        assert lock_folder(tmp_path).stat().st_mode & 0o777 == 0o700


def test_what_a_lock_held_is_not_emptied(machine, tmp_path):
    machine(1)
    lock_folder(tmp_path).mkdir(mode=0o700)
    (lock_folder(tmp_path) / "0").write_text("of somebody")
    with claimed():
        pass
    assert (lock_folder(tmp_path) / "0").read_text() == "of somebody"


def linked_lock(folder, valuable):
    folder.mkdir(mode=0o700)
    (folder / "0").symlink_to(valuable)


def linked_folder(folder, valuable):
    folder.symlink_to(valuable.parent)


def writable_folder(folder, valuable):
    folder.mkdir()
    folder.chmod(0o777)


def file_instead(folder, valuable):
    folder.touch()


@pytest.mark.parametrize("trap", [linked_lock, linked_folder, writable_folder, file_instead])
def test_a_trap_in_the_folder_for_all_is_one_line_and_harms_nothing(machine, tmp_path, trap):
    machine(1)
    valuable = tmp_path / "home" / "0"
    valuable.parent.mkdir()
    valuable.write_text("thesis")
    trap(lock_folder(tmp_path), valuable)
    with (
        pytest.raises(InputError, match=r"^[^\n]*; remove it, or set TMPDIR to a folder of"),
        claimed(),
    ):
        pass
    assert valuable.read_text() == "thesis"
    assert [*valuable.parent.iterdir()] == [valuable]


@pytest.mark.skipif(os.getuid() != 0, reason="giving a folder away takes root")
def test_a_folder_of_another_user_is_refused(machine, tmp_path):
    machine(1)
    lock_folder(tmp_path).mkdir(mode=0o700)
    os.chown(lock_folder(tmp_path), 12345, 12345)
    with pytest.raises(InputError, match="another user owns it"), claimed():
        pass


@pytest.fixture
def card(machine, monkeypatch):
    """Return a function that sets the one card's name, its capability and PyTorch's kernels."""

    def has(name, capability, kernels):
        machine(1)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda card: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda card: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", kernels.split)

    return has


CUDA_13 = "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120"
CUDA_126 = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"


@pytest.mark.parametrize(
    ("capability", "kernels"),
    [
        ((7, 0), CUDA_126),
        ((8, 9), CUDA_13),  # by the kernels of 8.6
        ((9, 0), CUDA_13),
        ((9, 0), "sm_90a"),
        ((13, 0), CUDA_13),  # compiled on the spot from compute_120
    ],
)
def test_cards_that_pytorch_can_use(card, capability, kernels):
    card("some card", capability, kernels)
    check_kernels()


@pytest.mark.parametrize(
    ("name", "capability", "kernels", "build"),
    [
        ("Tesla V100-SXM2-32GB", (7, 0), CUDA_13, "cu126"),
        ("NVIDIA B200", (10, 0), CUDA_126, "cu130"),
    ],
)
def test_a_card_without_kernels_is_one_line_that_says_what_to_install(
    card, name, capability, kernels, build
):
    card(name, capability, kernels)
    with pytest.raises(InputError) as error:
        check_kernels()
    line = str(error.value)
    assert line.startswith(f"{name}: PyTorch {torch.__version__} has no kernels")
    assert line.endswith(f"rm -r .venv && make install TORCH={build}")
    assert "\n" not in line


def test_without_cards_there_is_nothing_to_check():
    check_kernels()
