"""A small experiment of one corpus, done by fake trainings, and the rules that make its parts."""

import random

import yaml

import opus_tree
from fake_bin import ROOT, UPDATES, FakeBin, jobs, snakemake, workspace

DATA = {"download", "read", "clean", "split"}
BPE = {"learn_bpe", "binarise"}
OF_MAIN_RUNS = {"figure1", "figure2", "figure3", "figure4", "helping", "table1"}
OF_ALL_SEEDS = {"figure1", "figure2", "completeness", "helping"}
OF_ALL_RUNS = {"figure5", "figure6", "similarity", "table2", "claims", "report"}
OF_ALL_RUNS |= {"losses", "scores"}
WITHOUT_ESTIMATOR = {"completeness", "held_out", "losses", "scores", "table2", "claims", "report"}
RESULTS = {"train", "aggregate", "score", "all"} | OF_MAIN_RUNS | WITHOUT_ESTIMATOR | OF_ALL_RUNS
BY_VARIANT = {"shapes", "verdicts"}
SCRIPTS = [*ROOT.glob("scripts/analysis/*.py"), *ROOT.glob("scripts/figures/*.py")]
OTHERS = {path.stem for path in SCRIPTS} - RESULTS - BY_VARIANT - {"table3", "agreement"}
"""Exhibits that are named nowhere here: what they are drawn from is no matter of these tests."""

ENTRY = {
    "corpus": "toy",
    "pairs": ["en-de"],
    "objectives": ["mlm", "clm", "mt"],
    "languages": ["en"],
    "directions": "forward",
}
LARGER = {"runs": [ENTRY | {"pairs": ["en-de", "en-fi"], "languages": ["en", "fi"]}]}
TOY = {
    "corpora": {
        "toy": opus_tree.corpus("moses") | {"languages": ["de", "en", "fi"], "valid": 0, "test": 0}
    },
    "opus_mirror": "opus",
    "runs": [ENTRY],
    "main_runs": {"mlm": "toy/mlm/en", "clm": "toy/clm/en", "mt": "toy/mt/en-de"},
    "figures": {"also": []},
    "bpe": {"vocab_size": 120},
    "training": {"total_updates": UPDATES, "precision": "fp32"},
}


def archive(folder, pair):
    return folder / "opus" / opus_tree.ROOT / "moses" / f"{pair}.txt.zip"


def write_corpus(path, pair):
    rng = random.Random(pair)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 5))) for _ in range(50)]
    sides = {
        language: "".join(f"{' '.join(rng.choices(words, k=6))} {language}\n" for _ in range(300))
        for language in pair.split("-")
    }
    opus_tree.write_zip(path, {f"Toy.{pair}.{side}": t.encode() for side, t in sides.items()})


def toy_workspace(folder):
    workspace(folder)
    for pair in ("de-en", "en-fi"):
        write_corpus(archive(folder, pair), pair)
    (folder / "toy.yaml").write_text(yaml.safe_dump(TOY))
    return folder


class Finished:
    """A workspace in which the toy experiment is done, by fake trainings."""

    def __init__(self, folder):
        self.folder = toy_workspace(folder / "workspace")
        self.fake = FakeBin(folder / "venv")
        self.first = self.run()

    def run(self, *arguments, change=None):
        """Run Snakemake with the toy's configuration and a change of it; return its output."""
        (self.folder / "change.yaml").write_text(yaml.safe_dump(change or {}))
        status, output = snakemake(
            self.folder,
            *arguments,
            *("--configfile", "toy.yaml", "change.yaml"),
            python=self.fake.python,
        )
        assert status == 0, output
        return output

    def plan(self, change):
        return jobs(self.run("--dry-run", change=change))

    def files(self):
        """Return the time stamps of all results but the logs and `OTHERS`."""
        results = self.folder / "results"
        files = {path.relative_to(results): path for path in results.rglob("*") if path.is_file()}
        return {
            str(name): path.stat().st_mtime_ns
            for name, path in files.items()
            if name.parts[0] != "logs" and path.name.partition(".")[0] not in OTHERS
        }


def rules(found):
    """Return the rules of the jobs that were found, but for `OTHERS`."""
    return found.keys() - OTHERS


def logs(corpus, *names):
    return {f"results/runs/{corpus}/{name}/base/1/log.parquet" for name in names}
