"""Trainings that are really killed, on a real Slurm, end with the log of an uninterrupted one."""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta

import psutil
import pyarrow.parquet as pq
import pytest

import opus_tree
import slurm_cluster
from fake_bin import workspace
from real_experiment import CONFIG as REAL
from real_experiment import write_corpus
from slurm_cluster import Cluster, Unavailable
from slurm_site import MEMORY, UPDATES, FakeSite, Site, end, label, log, name, wait


@pytest.fixture(scope="module")
def cluster():
    try:
        with Cluster() as cluster:
            yield cluster
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def site(cluster, tmp_path_factory):
    site = FakeSite(tmp_path_factory.mktemp("site"), cluster)
    yield site
    site.stop()


def kill_by_time_limit(site, way):
    soon = (datetime.now() + timedelta(seconds=2)).isoformat(timespec="seconds")
    slurm_cluster.run("scontrol", "update", f"JobId={site.job(way)}", f"EndTime={soon}")


def kill_by_scancel(site, way):
    slurm_cluster.run("scancel", site.job(way))


def kill_trainer(site, way):
    site.kill(way, "bin/fairseq-train")


def kill_script(site, way):
    site.kill(way, "train.py")


def kill_srun(site, way):
    site.kill(way, "srun -n1")


def kill_slurmstepd(site, way):
    """The trainer lives on, and nobody tells Slurm of its end: the job lasts until its limit."""
    title = f"slurmstepd: [{site.job(way)}.0]"
    (step,) = (p for p in psutil.process_iter(["cmdline"]) if title in (p.info["cmdline"] or []))
    step.kill()
    site.release(way)
    kill_by_time_limit(site, way)


def take_all_memory(site, way):
    (site.fake.bin / f"gorge-{name(way)}").touch()


KILLS = {
    "time limit": kill_by_time_limit,
    "own clock": lambda *_: None,
    "scancel": kill_by_scancel,
    "kill -9 of the trainer": kill_trainer,
    "kill -9 of the script": kill_script,
    "kill -9 of srun": kill_srun,
    "kill -9 of slurmstepd": kill_slurmstepd,
    "out of memory": take_all_memory,
}


@pytest.fixture(scope="module")
def killed(site):
    """What Snakemake printed while each of its trainings died once, all in one call."""
    process = site.start(*KILLS)
    alive = dict(KILLS)
    while alive:
        way = wait(120, "a checkpoint", lambda: next(filter(site.has_checkpoint, alive), None))
        if way == "scancel":
            words = slurm_cluster.run("scontrol", "show", "job", site.job(way)).split()
            site.asked = dict(word.split("=", 1) for word in words if "=" in word)
        alive.pop(way)(site, way)
    output = end(process)
    assert process.returncode == 0, output
    return output


def table(site, way):
    return pq.read_table(site.folder / log(way)).drop_columns("seconds")


def check(site, way, attempts):
    """A log is that of an undisturbed training, and each attempt went on where the last was."""
    assert table(site, way).equals(table(site, "nothing"))
    assert site.attempts(way) == attempts


def test_a_zombie_is_no_running_program(tmp_path):
    program = tmp_path / "slurm-alike"
    shutil.copy(shutil.which("sleep"), program)
    process = subprocess.Popen([program, "60"])
    assert slurm_cluster.running(program.name)
    process.kill()
    wait(10, "a zombie", lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert not slurm_cluster.running(program.name)
    process.wait()


def test_an_undisturbed_training_takes_one_attempt(site):
    check(site, "nothing", [0])
    assert table(site, "nothing")["update"].to_pylist() == list(range(1, UPDATES + 1))


@pytest.mark.slow
@pytest.mark.parametrize("way", KILLS)
def test_a_training_that_died_ends_as_if_nothing_had_happened(site, killed, way):
    check(site, way, [0] if way == "kill -9 of slurmstepd" else [0, 2])


@pytest.mark.slow
def test_the_user_sees_at_once_why_a_job_died(site, killed):
    for status in ("TIMEOUT", "CANCELLED", "FAILED"):
        assert f"failed, SLURM status is: '{status}'" in killed
    name = re.escape(label("own clock"))
    assert re.search(rf"error: {name}: stopped at update \d+ of {UPDATES}: time limit;", killed)
    assert "error: fairseq-train: killed by SIGKILL (the machine or the job may be" in killed
    assert f"Logfile results/logs/train/{label('scancel')}.log:" in killed
    if site.cluster.limits_memory:
        assert "oom-kill event" in killed


@pytest.mark.slow
def test_slurm_is_asked_for_what_the_profile_says(site, killed):
    facts = site.asked
    assert facts["TresPerNode"] == "gres:gpu:v100:1"
    assert facts["CPUs/Task"] == "4"
    assert facts["MinMemoryNode"] == f"{MEMORY}M"
    assert facts["TimeLimit"] == "01:00:00"


@pytest.mark.slow
def test_a_node_fails_and_then_the_user_interrupts(site):
    way = "node failure and Ctrl-C"
    process = site.start(way)
    wait(120, "a checkpoint", lambda: site.has_checkpoint(way))
    site.cluster.fail_node()
    wait(120, "the second attempt", lambda: len(site.attempts(way)) == 2)
    second = end(site.start(way))
    assert "Directory cannot be locked" in second
    os.killpg(process.pid, signal.SIGINT)
    end(process)
    assert process.returncode != 0
    wait(20, "an empty queue", lambda: not slurm_cluster.run("squeue", "--noheader"))
    process = site.start(way)
    output = end(process)
    assert process.returncode == 0, output
    check(site, way, [0, 2, 4])


@pytest.mark.slow
def test_an_orphaned_job_and_its_rerun_do_not_both_write(site):
    way = "kill -9 of Snakemake"
    process = site.start(way)
    wait(120, "a checkpoint", lambda: site.has_checkpoint(way))
    job = site.job(way)
    process.kill()
    process.wait()
    site.run_here("--unlock")
    process = site.start(way)
    printed = site.folder / f"results/logs/train/{label(way)}.log"
    message = f"waiting for the end of {platform.node()}, Slurm job {job}"
    wait(120, "the rerun", lambda: printed.exists() and message in printed.read_text())
    site.release(way)
    output = end(process)
    assert process.returncode == 0, output
    check(site, way, [0])
    assert "Trying to restart" not in output


@pytest.mark.slow
def test_an_outage_of_the_controller_is_waited_out(site):
    """The training ends meanwhile; it is collected and what depends on it is submitted."""
    way = "no controller"
    printed = site.folder / "outage"
    totals = log(way).replace("log.parquet", "totals.parquet")
    process = site.start(targets=[totals], output=printed)
    wait(120, "a checkpoint", lambda: site.has_checkpoint(way))
    site.cluster.stop_controller()
    try:
        site.release(way)
        wait(120, "a query", lambda: "Falling back to 'sacct'" in printed.read_text())
        time.sleep(1)  # that fails: there is no accounting
    finally:
        site.cluster.start_controller()
    end(process)
    assert process.returncode == 0, printed.read_text()
    assert "Slurm does not say how its 1 jobs are" in printed.read_text()
    check(site, way, [0])
    assert (site.folder / totals).exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("slurm_partition=nowhere", "Invalid partition name specified"),
        ("gres=gpu:a100:1", "Requested node configuration is not available"),
    ],
)
def test_what_the_cluster_does_not_have_is_one_clear_message(site, option, message):
    options = ("--set-resources", f"train:{option}", "--retries", "0")
    process = site.start("a mistake", options=options)
    output = end(process)
    assert process.returncode != 0
    assert message in output


@pytest.mark.slow
def test_the_figure_is_drawn_where_snakemake_runs(site, killed):
    (site.folder / "one_seed.yaml").write_text("seeds: [1]\n")  # three runs, which are done
    process = site.start(targets=["results/figures/figure1.pdf"], options=["one_seed.yaml"])
    output = end(process)
    assert process.returncode == 0, output
    assert "\nlocalrule figure1:" in output
    assert "\nrule aggregate:" in output


@pytest.mark.slow
def test_fairseq_itself_is_killed_and_goes_on_bit_for_bit(cluster, tmp_path):
    folder = workspace(tmp_path)
    write_corpus(folder / "opus" / opus_tree.ROOT / "moses" / "de-en.txt.zip")
    training = REAL["training"] | {"total_updates": 300, "checkpoint_every": 10}
    corpora = {"toy": REAL["corpora"]["toy"] | {"valid": 0, "test": 0}}
    config = REAL | {"corpora": corpora, "training": training}
    site = Site(folder, cluster, sys.executable, config)
    way = "own clock"
    site.run_here("--", log(way))
    expected = table(site, way)
    assert expected["update"].to_pylist() == list(range(1, 301))
    (folder / log(way)).unlink()
    shutil.rmtree(folder / "results/state")

    process = site.start(way)
    try:
        wait(120, "a checkpoint", lambda: site.has_checkpoint(way))
        kill_trainer(site, way)
        output = end(process)
    finally:
        site.stop()
    assert process.returncode == 0, output
    assert "error: fairseq-train: killed by SIGKILL" in output
    printed = (folder / f"results/logs/train/{label(way)}.log").read_text()
    (resumed,) = map(int, re.findall(r"Loaded checkpoint .* @ (\d+) updates", printed))
    assert 10 <= resumed < 300
    assert table(site, way).equals(expected)
