"""Kill -9 at random moments, and a full disk: the log and the model end up as if nothing happened.

The trainings are real; they run in forks of this process, which has everything imported already.
"""

import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from fairseq import checkpoint_utils
from fairseq_cli.train import cli_main

import train
from fake_bin import ROOT
from lca.verify import verify
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


def run(data, folder, fatal_save=None):
    """Train in this process; in the checkpoint of this number, be killed halfway through."""
    os.setsid()
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    sys.stdout = sys.stderr = (folder / "words").open("a", buffering=1)
    saves = iter(range(1, 1000))
    write = checkpoint_utils._torch_persistent_save

    def save(obj, file):
        if next(saves) == fatal_save:
            whole = io.BytesIO()
            torch.save(obj, whole)
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            file.flush()
            os.killpg(0, signal.SIGKILL)
        write(obj, file)

    def in_this_process(tool, *arguments, **_):
        sys.argv = [tool, *map(str, arguments)]
        cli_main()

    checkpoint_utils._torch_persistent_save = save
    train.run_tool = in_this_process
    train.main(
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


def start(*arguments):
    process = multiprocessing.get_context("fork").Process(target=run, args=arguments)
    process.start()
    return process


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"), number=200)
    (folder / "manifest.json").write_text(json.dumps({"sha256": {}}))
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The results of a training that nothing disturbed, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("whole")
    begun = time.monotonic()
    process = start(data, folder)
    process.join()
    assert process.exitcode == 0, (folder / "words").read_text()[-2000:]
    return folder, time.monotonic() - begun


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
    """Half of them within a checkpoint's writing; twice the newest checkpoint is then broken too,
    as by a power failure."""
    expected, seconds = whole
    chance = random.Random(1)
    for number in range(KILLS):
        in_checkpoint = number % 2 == 0
        process = start(data, tmp_path, chance.choice([1, 2]) if in_checkpoint else None)
        if in_checkpoint:
            process.join()
        else:
            time.sleep(chance.uniform(0, seconds / 8))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / "log.parquet").exists()
        if number in (8, 15):
            newest = train.newest_checkpoint(next(tmp_path.glob("state/*/checkpoints"))).path
            os.truncate(newest, newest.stat().st_size // 3)
    process = start(data, tmp_path)
    process.join()
    assert process.exitcode == 0, (tmp_path / "words").read_text()[-2000:]
    check_equal(tmp_path, expected)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_stops_the_training_and_loses_nothing(data, whole, tmp_path):
    expected, _ = whole
    used = sum(file.stat().st_size for file in expected.rglob("*") if file.is_file())
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
    check_equal(kept, expected)
