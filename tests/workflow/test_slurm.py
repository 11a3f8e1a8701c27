"""Trainings that are really killed, on a real Slurm, end with the log of an uninterrupted one."""

import json
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
import yaml
from test_end_to_end import CONFIG as REAL
from test_end_to_end import write_corpus

import opus_tree
import slurm_cluster
from fake_bin import ROOT, FakeBin, snakemake, start_snakemake, workspace, write_log
from slurm_cluster import Cluster, Unavailable
from toy_experiment import TOY, toy_workspace

UPDATES = 20  # of every fake training
EVERY = 2  # updates between its checkpoints
MEMORY = 800  # megabytes of a job

TRAIN = """
import json, os, pickle, shutil, sys, time, zipfile
from pathlib import Path

options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:] if "=" in word)
bin, checkpoint = Path(__file__).parent, Path(options["restore-file"])
log, save = Path(options["lca-log"]), Path(options["save-dir"])
log.mkdir(exist_ok=True)
save.mkdir(exist_ok=True)
state = {"optimizer_history": [{"num_updates": 0}], "extra_state": {"previous_training_time": 0}}
if checkpoint.exists():
    with zipfile.ZipFile(checkpoint) as archive:
        state = pickle.loads(archive.read("data.pkl"))
trained, spent = state["optimizer_history"][0], state["extra_state"]["previous_training_time"]
run = save.parent.name.rsplit("-", 1)[0]
with open(bin / "attempts.jsonl", "a") as file:
    file.write(json.dumps([run, trained["num_updates"], os.environ.get("SLURM_JOB_ID")]) + "\\n")
stop = time.time() + 3600 * float(options.get("stop-time-hours", "inf"))
stop -= state["extra_state"]["previous_training_time"]


def held(update):
    return update in json.loads((bin / "holds.json").read_text()).get(run, [])


for part in log.glob("part-*.parquet"):
    if int(part.stem.split("-")[1]) > trained["num_updates"]:
        part.unlink()
start = time.time()
for part in sorted((bin / "slow-log").glob("part-*.parquet")):
    first, last = map(int, part.stem.split("-")[1:])
    if first <= trained["num_updates"]:
        continue
    trained["num_updates"] = last
    shutil.copy(part, log / "copying")
    (log / "copying").rename(log / part.name)
    state["extra_state"]["previous_training_time"] = spent + time.time() - start
    with zipfile.ZipFile(save / "saving", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(state))
    (save / "saving").rename(save / "checkpoint_last.pt")
    print(f"{last} updates", flush=True)
    while held(last) and time.time() < stop:
        time.sleep(0.1)
        if (bin / f"gorge-{run}").exists():
            too_much = bytearray(os.urandom(1)) * 2**30
    if time.time() > stop:
        break
"""
"""A training that saves its state and goes on from it, stops when it is told to, and waits at the
updates where it is held: for its death."""

FAST_POLL = """
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

# Left to itself the plugin asks after 40 s, and up to 3 minutes apart.
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda *_: None)
main()
"""

RUNS = {
    "time limit": "mlm/en/base/1",
    "own clock": "clm/en/base/1",
    "scancel": "mt/en-de/base/1",
    "kill -9 of the trainer": "mlm/en/base/2",
    "kill -9 of the script": "clm/en/base/2",
    "kill -9 of srun": "mt/en-de/base/2",
    "kill -9 of slurmstepd": "mt/en-de/base/4",
    "out of memory": "mlm/en/base/3",
    "node failure and Ctrl-C": "clm/en/base/3",
    "kill -9 of Snakemake": "mlm/en/base/4",
    "nothing": "clm/en/base/4",
    "a mistake": "mt/en-de/base/3",
    "no controller": "mlm/en/base/5",
}
"""The run that dies of each cause."""

HOLDS = {"nothing": [], "node failure and Ctrl-C": [2, 4]}
"""Where trainings wait, if not at update 2."""

CONFIG = TOY | {
    "seeds": [1, 2, 3, 4, 5],
    "training": {"total_updates": UPDATES, "precision": "fp32"},
}


def label(way):
    return "toy/" + RUNS[way]


def name(way):
    return label(way).replace("/", "-")


def log(way):
    return f"results/runs/toy/{RUNS[way]}/log.parquet"


class Site:
    """A workspace, with the profiles where users have them, and the Snakemakes started in it."""

    def __init__(self, folder, cluster, python, config):
        self.folder = folder
        self.cluster = cluster
        self.python = python
        self.started = []
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "fast_poll.py").write_text(FAST_POLL)
        subprocess.run(
            ["make", f"--makefile={ROOT}/Makefile", "profiles"],
            cwd=folder,
            env=os.environ | {"XDG_CONFIG_HOME": str(folder / ".config")},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def run_here(self, *arguments):
        """Run Snakemake without Slurm."""
        options = ("--configfile", "config.yaml", *arguments)
        status, output = snakemake(self.folder, *options, python=self.python)
        assert status == 0, output

    def start(self, *ways, options=(), targets=(), output=None):
        """Start `snakemake --profile slurm` for the runs of these ways to die, or for `targets`.

        What it prints is what `end` returns, or goes to the file `output`.
        """
        process = start_snakemake(
            self.folder,
            *("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "1"),
            *("--configfile", "config.yaml", *options, "--", *map(log, ways), *targets),
            python=self.python,
            program=["fast_poll.py"],
            **({"stdout": output.open("w")} if output else {}),
        )
        self.started.append(process)
        return process

    def has_checkpoint(self, way):
        return [*self.folder.glob(f"results/state/{name(way)}-*/checkpoints/checkpoint_last.pt")]

    def job(self, way):
        """The Slurm job that runs for a run, None if there is none."""
        comment = f"rule_train_wildcards_{label(way).replace('/', '_')}"
        queue = slurm_cluster.run("squeue", "--noheader", "--states=R", "--format=%i %k")
        jobs = dict(reversed(line.split()) for line in queue.splitlines())
        return jobs.get(comment)

    def kill(self, way, program):
        """Kill the processes that run a program for a run."""
        job = self.job(way)
        for process in psutil.process_iter(["cmdline", "environ"]):
            words = " ".join(process.info["cmdline"] or [])
            if program in words and (process.info["environ"] or {}).get("SLURM_JOB_ID") == job:
                process.kill()

    def stop(self):
        for process in self.started:
            process.kill()


class FakeSite(Site):
    """A site with prepared data, a fake trainer, and one training that nothing disturbed."""

    def __init__(self, folder, cluster):
        self.fake = FakeBin(folder / "venv")
        trainer = self.fake.bin / "fairseq-train"
        trainer.write_text(f"#!{self.fake.python} -S\n{TRAIN}")
        write_log(self.fake.bin / "slow-log", UPDATES, EVERY)
        self.holds = {name(way): HOLDS.get(way, [2]) for way in RUNS}
        self.write_holds()
        super().__init__(toy_workspace(folder / "workspace"), cluster, self.fake.python, CONFIG)
        self._edit_profile()
        self.run_here("--", "data", log("nothing"))

    def write_holds(self):
        (self.fake.bin / "holds.json").write_text(json.dumps(self.holds))

    def release(self, way):
        """Let the training of a way go on where it is held."""
        self.holds[name(way)] = []
        self.write_holds()

    def _edit_profile(self):
        """Ask for as little memory and time as the deaths of too much of them need."""
        path = self.folder / "profiles/slurm/profile.yaml"
        profile = yaml.safe_load(path.read_text())
        run = label("own clock").split("/")[1:]
        names = ["objective", "languages", "variant", "seed"]
        found = ", ".join(f"wildcards.{name}" for name in names)
        profile["set-resources"]["train"] |= {
            "mem_mb": MEMORY,
            "runtime": f"1 if [{found}] == {run} else 60",
        }
        path.write_text(yaml.safe_dump(profile))

    def attempts(self, way):
        """The update each attempt at a training went on from."""
        lines = (self.fake.bin / "attempts.jsonl").read_text().splitlines()
        return [update for run, update, _ in map(json.loads, lines) if run == name(way)]


def wait(seconds, what, ready):
    deadline = time.monotonic() + seconds
    while not (result := ready()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return result


def end(process, seconds=200):
    """Wait for a Snakemake; return all that it printed."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(process.communicate()[0])


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
    words = site.folder / f"results/logs/train/{label(way)}.log"
    message = f"waiting for the end of {platform.node()}, Slurm job {job}"
    wait(120, "the rerun", lambda: words.exists() and message in words.read_text())
    site.release(way)
    output = end(process)
    assert process.returncode == 0, output
    check(site, way, [0])
    assert "Trying to restart" not in output


@pytest.mark.slow
def test_an_outage_of_the_controller_is_waited_out(site):
    """The training ends meanwhile; it is collected and what depends on it is submitted."""
    way = "no controller"
    words = site.folder / "outage"
    totals = log(way).replace("log.parquet", "totals.parquet")
    process = site.start(targets=[totals], output=words)
    wait(120, "a checkpoint", lambda: site.has_checkpoint(way))
    site.cluster.stop_controller()
    try:
        site.release(way)
        wait(120, "a query", lambda: "Falling back to 'sacct'" in words.read_text())
        time.sleep(1)  # that fails: there is no accounting
    finally:
        site.cluster.start_controller()
    end(process)
    assert process.returncode == 0, words.read_text()
    assert "Slurm does not say how its 1 jobs are" in words.read_text()
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
    words = (folder / f"results/logs/train/{label(way)}.log").read_text()
    (resumed,) = map(int, re.findall(r"Loaded checkpoint .* @ (\d+) updates", words))
    assert 10 <= resumed < 300
    assert table(site, way).equals(expected)
