"""Kill -9 at any moment, a full disk, a bad one: log and model end up as if nothing happened.

The trainings are real; they run in forks of this process, which has everything imported already.
"""

import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from fairseq import checkpoint_utils
from fairseq_cli.train import cli_main

from closer_look.jobs.manifest import write_manifest
from fake_bin import ROOT
from lca.optimizers import FairseqAdam
from lca.verify import verify
from scripts.training import train
from trainers import write_data

pytestmark = pytest.mark.slow

KILLS = 20
UPDATES = 300
SETTINGS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["training"] | {
    "layers": 2,
    "heads": 2,
    "embed_dim": 16,
    "ffn_dim": 32,
    "warmup_updates": 10,
    "total_updates": UPDATES,
    "tokens_per_update": 64,
    "tokens_per_sample": 16,
    "precision": "fp32",
    "probe": {"every": 50, "tokens": 100, "loss_tokens": 100},
    "checkpoint_every": 10,
}


def kill_within_checkpoint(number):
    """Have this process killed when it has written half of its checkpoint of this number."""
    saves = iter(range(1, 1000))
    write = checkpoint_utils._torch_persistent_save

    def save(obj, file):
        if next(saves) == number:
            whole = io.BytesIO()
            torch.save(obj, whole)
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            file.flush()
            os.killpg(0, signal.SIGKILL)
        write(obj, file)

    checkpoint_utils._torch_persistent_save = save


def kill_after(updates, seconds):
    """Have this process killed so many seconds after its update of this number; 0: from now."""
    timer = threading.Timer(seconds, os.killpg, (0, signal.SIGKILL))
    steps = iter(range(1, 1000))
    step = FairseqAdam.step

    def counted(*arguments):
        if next(steps) == updates:
            timer.start()
        return step(*arguments)

    FairseqAdam.step = counted
    if updates == 0:
        timer.start()


def run(data, folder, death=None, *when):
    """Train in this process, after `death(*when)` has arranged its end."""
    os.setsid()
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    sys.stdout = sys.stderr = (folder / "words").open("a", buffering=1)
    if death:
        death(*when)

    def in_this_process(tool, *arguments, **_):
        sys.argv = [tool, *map(str, arguments)]
        cli_main()

    train.run_tool = in_this_process
    train.main(
        train.Training(
            run="toy/clm/en/base/1",
            settings=SETTINGS,
            data=data,
            data_manifest=data / "manifest.json",
            state=folder / "state",
            max_tokens=64,
            threads=1,
            log=folder / "log.parquet",
            manifest=folder / "run.json",
        )
    )


def start(*arguments):
    process = multiprocessing.get_context("fork").Process(target=run, args=arguments)
    process.start()
    return process


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"), number=200)
    files = {path.name: path for path in folder.iterdir()}
    write_manifest(folder / "manifest.json", files, parts={"train": {"tokens": 1}})
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The results of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(data, folder)
    process.join()
    assert process.exitcode == 0, (folder / "words").read_text()[-2000:]
    return folder


def check_equal(folder, whole):
    assert verify(folder / "log.parquet") == UPDATES
    log, expected = (pq.read_table(place / "log.parquet") for place in (folder, whole))
    assert log.drop_columns("seconds").equals(expected.drop_columns("seconds"))
    models = [
        torch.load(next(place.glob("state/*/checkpoints/checkpoint_last.pt")), weights_only=False)
        for place in (folder, whole)
    ]
    for name, parameter in models[0]["model"].items():
        assert torch.equal(parameter, models[1]["model"][name]), name


def test_twenty_kills_leave_no_trace(data, whole, tmp_path):
    """Half of them within a checkpoint's writing, the others at any moment, a few while it starts;
    twice the newest checkpoint is then broken too, as by a power failure."""
    chance = random.Random(1)
    for number in range(KILLS):
        if number % 2 == 0:
            process = start(data, tmp_path, kill_within_checkpoint, chance.choice([1, 2]))
        else:
            updates = chance.randrange(12)
            seconds = chance.uniform(0, 0.1 if updates else 2)
            process = start(data, tmp_path, kill_after, updates, seconds)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / "log.parquet").exists()
        if number in (8, 15):
            newest = train.newest_checkpoint(next(tmp_path.glob("state/*/checkpoints"))).path
            os.truncate(newest, newest.stat().st_size // 3)
    process = start(data, tmp_path)
    process.join()
    assert process.exitcode == 0, (tmp_path / "words").read_text()[-2000:]
    check_equal(tmp_path, whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_stops_the_training_and_loses_nothing(data, whole, tmp_path):
    used = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={used // 2}", "small", tmp_path]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        process = start(data, tmp_path)
        process.join()
        assert process.exitcode not in (0, -signal.SIGKILL)
        assert not (tmp_path / "log.parquet").exists()
        state = next(tmp_path.glob("state/*"))
        saved = train.newest_checkpoint(state / "checkpoints").path
        kept = tmp_path.with_name("kept")
        with suppress(FileNotFoundError):
            shutil.rmtree(kept)
        shutil.copytree(tmp_path, kept)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert torch.load(kept / saved.relative_to(tmp_path), weights_only=False)
    process = start(data, kept)
    process.join()
    assert process.exitcode == 0, (kept / "words").read_text()[-2000:]
    check_equal(kept, whole)


def flip(path):
    """Change a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def state(folder, pattern):
    return sorted(folder.glob(f"state/*/{pattern}"))


DAMAGES = {
    "a bit of the last checkpoint": (
        lambda folder: flip(*state(folder, "checkpoints/checkpoint_last.pt")),
        UPDATES,
    ),
    "a bit of all checkpoints": (
        lambda folder: [flip(path) for path in state(folder, "checkpoints/*.pt")],
        0,
    ),
    "the last part of the log": (
        lambda folder: state(folder, "log/part-*.parquet")[-1].unlink(),
        UPDATES,
    ),
    "a bit of the part before": (
        lambda folder: flip(state(folder, "log/part-*.parquet")[-2]),
        None,
    ),
    "the first part": (lambda folder: state(folder, "log/part-*.parquet")[0].unlink(), 0),
}
"""What is damaged or lost, and the update that the next attempt goes on from: if it is None, that
of the checkpoint before the last. fairseq keeps none where an epoch ends."""


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_noticed_said_and_repaired_by_going_back(data, whole, tmp_path, what):
    damage, update = DAMAGES[what]
    shutil.copytree(whole / "state", tmp_path / "state")
    if update is None:
        kept = state(tmp_path, "checkpoints/checkpoint_*_*.pt")
        update = max(int(path.stem.split("_")[-1]) for path in kept[:-1])
        assert 0 < update < UPDATES
    damage(tmp_path)
    process = start(data, tmp_path)
    process.join()
    words = (tmp_path / "words").read_text()
    assert process.exitcode == 0, words[-2000:]
    check_equal(tmp_path, whole)
    last = json.loads((tmp_path / "run.json").read_text())["attempts"][-1]
    assert last["from_update"] == update
    assert last["damages"]
    assert (f"goes on from update {update}" if update else "begins anew") in words
    assert not state(tmp_path, "checkpoints/*.unusable")


def test_a_finished_training_of_before_there_were_checksums_is_not_trained_again(
    data, whole, tmp_path
):
    shutil.copytree(whole / "state", tmp_path / "state")
    for path in state(tmp_path, "log/*.sha256"):
        path.unlink()
    model = state(tmp_path, "checkpoints/checkpoint_last.pt")[0]
    before = model.stat()
    process = start(data, tmp_path)
    process.join()
    assert process.exitcode == 0
    check_equal(tmp_path, whole)
    assert (model.stat().st_ino, model.stat().st_mtime) == (before.st_ino, before.st_mtime)


@pytest.mark.parametrize("name", ["train.bin", "train.idx"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), Path.unlink, flip])
def test_damaged_data_is_refused_before_anything_is_trained(data, tmp_path, name, damage):
    other = shutil.copytree(data, tmp_path / "data")
    damage(other / name)
    process = start(other, tmp_path)
    process.join()
    assert process.exitcode != 0
    words = (tmp_path / "words").read_text()
    assert re.search(f"{other}/{name}: (damaged: |missing; )", words)
    assert not state(tmp_path, "checkpoints")
