"""Workspaces for the real Snakemake, and an environment in which training takes no time.

A workspace is a folder with copies of the workflow's files: nothing is written to the checkout.
"""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings
from torch import nn

from lca import LAGS
from lca.allocation import empty
from lca.blocks import partition
from lca.recorder import EXTRA_UPDATES, Recorder

ROOT = Path(__file__).parents[2]
UPDATES = 4  # of every fake training

STUBS = {
    "fairseq/__init__.py": "",
    "fairseq/data/__init__.py": """
from pathlib import Path

class Dictionary(list):
    def load(path):
        return Dictionary(line.split()[0] for line in open(path, encoding="utf-8"))

    def save(self, path):
        Path(path).touch()

    def index(self, piece):
        return super().index(piece) if piece in self else self.unk()

    def eos(self):
        return 2

    def unk(self):
        return 3
""",
    "fairseq/data/indexed_dataset.py": """
import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

def best_fitting_int_dtype(size):
    return "uint8"

class MMapIndexedDataset:
    def __init__(self, path):
        self.sizes = json.loads(Path(f"{path}.idx").read_text())

    class Index:
        @contextmanager
        def writer(path, dtype):
            yield SimpleNamespace(write=lambda sizes: Path(path).write_text(str(sizes)))
""",
    "torch/__init__.py": """
import pickle, zipfile
from . import cuda, nn, serialization

def load(path, **options):
    with zipfile.ZipFile(path) as archive:
        return pickle.loads(archive.read("data.pkl"))

def __getattr__(name):
    return type(name, (), {})
""",
    "torch/serialization.py": "from contextlib import nullcontext as safe_globals",
    "torch/cuda.py": "def device_count(): return 0",
    "torch/nn/__init__.py": """
from . import parallel

def __getattr__(name):
    return type(name, (), {})
""",
    "torch/nn/parallel.py": """
def __getattr__(name):
    return type(name, (), {})
""",
}
"""All of fairseq and PyTorch that the scripts use themselves; to import the real ones for every
job would take most of the time of the tests."""

TRAIN = """
import json, shutil, sys
from pathlib import Path

data, *words = sys.argv[1:]
options = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
bin = Path(__file__).parent
with open(bin / "trainings.jsonl", "a") as file:
    file.write(json.dumps({"data": data, **options}) + "\\n")
if not Path(data).is_dir():
    sys.exit(f"{data}: no such data")
for option in ("save-dir", "lca-log"):
    shutil.copytree(bin / option, options[option], dirs_exist_ok=True)
"""


class FakeBin:
    """An environment whose `fairseq-train` pretends.

    It leaves a checkpoint and a genuine log of `UPDATES` updates (and the one after).
    """

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        (packages,) = folder.glob("lib/python*/site-packages")
        # Behind this environment's own packages, so that the stub is found first.
        (packages / "real.pth").write_text("\n".join(path for path in sys.path if "site-" in path))
        for name, content in STUBS.items():
            (packages / name).parent.mkdir(parents=True, exist_ok=True)
            (packages / name).write_text(content)
        trainer = self.bin / "fairseq-train"
        trainer.write_text(f"#!{self.python} -S\n{TRAIN}")
        trainer.chmod(0o755)
        _write_checkpoint(self.bin / "save-dir")
        write_log(self.bin / "lca-log", UPDATES)

    def trainings(self) -> list[dict]:
        """Return the options of every training so far, with its `data`."""
        record = self.bin / "trainings.jsonl"
        return [json.loads(line) for line in record.open()] if record.exists() else []


def _write_checkpoint(folder: Path) -> None:
    folder.mkdir()
    state = {"optimizer_history": [{"num_updates": UPDATES + EXTRA_UPDATES}]}
    state["extra_state"] = {"previous_training_time": 1.0}
    with zipfile.ZipFile(folder / "checkpoint_last.pt", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(state))


def write_log(folder: Path, updates: int, every: int | None = None) -> None:
    """Write the log of a training, in one part or in parts of `every` updates."""
    part = partition(nn.Transformer(8, 2, 2, 2, 8, batch_first=True))
    recorder = Recorder(folder, part, {})
    facts = ["loss", "learning_rate", "gradient_norm", "predicted_tokens", "loss_scale"]
    for update in range(1, updates + EXTRA_UPDATES + 1):
        row = {"update": update, "overflows": 0, **dict.fromkeys(facts, update)}
        recorder.record(row, {lag: empty(part) - update / (1 + by) for lag, by in LAGS.items()})
        if every and update % every == 0:
            recorder.close_part()
    recorder.close_part()


def workspace(folder: Path) -> Path:
    """Make a workspace in `folder`, which may exist; return it."""
    for name in ("workflow", "scripts", "src", "config", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("envs", "resources"):
        (folder / name).symlink_to(ROOT / name)
    return folder


SNAKEMAKE = ("-m", "snakemake", "--cores=1")


def start_snakemake(
    folder: Path, *arguments: str, python: Path = sys.executable, program=SNAKEMAKE, **options
):
    """Start Snakemake in a workspace, in a process group of its own; return the `Popen`."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "XDG_CONFIG_HOME": str(folder / ".config"),  # none of the user's own profiles
    }
    return subprocess.Popen(
        [python, *program, "--nocolor", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **{"stdout": subprocess.PIPE} | options,
    )


def snakemake(folder: Path, *arguments: str, python: Path = sys.executable) -> tuple[int, str]:
    """Run Snakemake in a workspace; return its exit status and all that it printed."""
    process = start_snakemake(folder, *arguments, python=python)
    output, _ = process.communicate()
    return process.returncode, output


def plan(folder: Path, *configfiles: Path, target: str) -> None:
    """Print what Snakemake would run in a workspace, without a process of its own: far faster."""
    with SnakemakeApi(OutputSettings(dryrun=True)) as api:
        workflow = api.workflow(
            ResourceSettings(cores=1),
            ConfigSettings(configfiles=configfiles),
            snakefile=folder / "workflow/Snakefile",
            workdir=folder,
        )
        workflow.dag(DAGSettings(targets={target})).execute_workflow(executor="dryrun")


def jobs(output: str) -> dict[str, set[str]]:
    """Return the first output of every job that Snakemake ran or would run, by the rule's name."""
    found = {}
    for rule, facts in re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", output, re.MULTILINE):
        first = re.search(r"output: ([^,\n]+)", facts)
        found.setdefault(rule, set()).add(first[1] if first else "")
    return found


def count(output: str) -> dict[str, int]:
    """Return the number of jobs of each rule."""
    return {rule: len(outputs) for rule, outputs in jobs(output).items()}
