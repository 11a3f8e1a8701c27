"""A place on a cluster where trainings run and are killed."""

import json
import os
import subprocess
import time

import psutil
import pytest
import yaml

import slurm_cluster
from fake_bin import ROOT, FakeBin, snakemake, start_snakemake, write_log
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
            command = " ".join(process.info["cmdline"] or [])
            if program in command and (process.info["environ"] or {}).get("SLURM_JOB_ID") == job:
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
