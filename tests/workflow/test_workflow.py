import os
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

import opus_tree
from fake_bin import ROOT, UPDATES, FakeBin, count, jobs, plan, snakemake, workspace

DATA = {"download", "read", "clean", "split"}
BPE = {"learn_bpe", "binarise"}
OF_MAIN_RUNS = {"figure1", "figure2", "figure3", "figure4", "helping", "table1"}
OF_ALL_SEEDS = {"figure1", "figure2", "completeness", "helping"}
OF_ALL_RUNS = {"figure5", "figure6", "similarity", "table2", "claims", "report"}
OF_ALL_RUNS |= {"losses", "scores"}
WITHOUT_ESTIMATOR = {"completeness", "held_out", "losses", "scores", "table2", "claims", "report"}
RESULTS = {"train", "aggregate", "score", "all"} | OF_MAIN_RUNS | WITHOUT_ESTIMATOR | OF_ALL_RUNS
DONE = "Nothing to be done"
FIGURE = "results/figures/figure1.pdf"

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
        """Return the time stamps of all results but the logs."""
        results = self.folder / "results"
        files = {path.relative_to(results): path for path in results.rglob("*") if path.is_file()}
        return {
            str(name): path.stat().st_mtime_ns
            for name, path in files.items()
            if name.parts[0] != "logs"
        }


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return workspace(tmp_path_factory.mktemp("paper"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def enlarged(finished):
    """The finished workspace after a pair was added: files and trainings before, the output."""
    before = finished.files(), finished.fake.trainings()
    return *before, finished.run(change=LARGER)


def logs(corpus, *names):
    return {f"results/runs/{corpus}/{name}/base/1/log.parquet" for name in names}


def redrawn(name):
    """Whether a file is drawn from all runs or data."""
    return not name.startswith("runs/") and Path(name).stem in OF_ALL_RUNS | {"table3"}


def test_the_paper_from_nothing(paper):
    status, output = snakemake(paper, "--dry-run")
    assert status == 0, output
    expected = dict.fromkeys(DATA, 4) | dict(learn_bpe=8, binarise=8, train=15, aggregate=15)
    expected |= dict(score=15, download_test_set=6)  # three pairs both ways
    expected |= dict(table3=1)
    # by the estimator of the paper, and by another
    expected |= dict.fromkeys(OF_MAIN_RUNS | OF_ALL_RUNS, 2) | dict.fromkeys(WITHOUT_ESTIMATOR, 1)
    assert expected.items() <= count(output).items()
    assert not (paper / "results").exists()


TRAININGS = {
    "config": 15,
    "controls": 9,
    "data-size": 9,
    "demo": 6,
    "domain": 6,
    "gpu-quick": 3,
    "ground-truth": 3,
    "languages": 23,
    "laptop": 3,
    "noise": 12,
    "norm": 4,
    "optimizer": 6,
    "regularization": 12,
    "scale": 45,
    "seeds": 15,
}


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_is_a_plan(paper, path, capfd):
    plan(paper, path, target="all")
    planned = count(capfd.readouterr().err)
    assert planned["train"] == TRAININGS[path.stem]
    # Drawn where every update is probed.
    assert planned.get("agreement", 0) == (path.stem == "ground-truth")


@pytest.mark.parametrize(
    ("names", "trainings"),
    [
        (["controls", "laptop"], 9),
        (["norm", "laptop"], 4),
        (["seeds", "laptop"], 15),
        (["laptop", "scale"], 9),
    ],
    ids=["controls", "norm", "seeds", "scale"],
)
def test_configurations_that_go_together_are_a_plan(paper, names, trainings, capfd):
    plan(paper, *(ROOT / f"config/{name}.yaml" for name in names), target="models")
    assert count(capfd.readouterr().err)["train"] == trainings


def test_figure_1_needs_three_trainings_and_one_pair(paper):
    status, output = snakemake(paper, "--dry-run", FIGURE)
    assert status == 0, output
    planned = jobs(output)
    assert planned["train"] == logs("europarl", "mlm/en", "clm/en", "mt/en-de")
    data = {path for rule in DATA | BPE for path in planned[rule]}
    assert all(path.startswith("results/data/europarl/en-de/") for path in data)
    assert {rule: len(planned[rule]) for rule in DATA} == dict.fromkeys(DATA, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainig": {"lr": 1}}, "config: unknown key 'trainig' (did you mean training?)"),
        ({"training": {"lr": "5e-4"}}, "training.lr: '5e-4' is not of type number"),
        ({"runs": [ENTRY | {"pairs": ["en-xx"]}]}, "runs[0].pairs: en-xx: unknown language 'xx'"),
    ],
    ids=["key", "type", "language"],
)
def test_a_mistake_in_the_configuration_is_one_line_before_anything_is_done(
    tmp_path, change, message
):
    workspace(tmp_path)
    for name, content in (("toy.yaml", TOY), ("change.yaml", change)):
        (tmp_path / name).write_text(yaml.safe_dump(content))
    status, output = snakemake(tmp_path, "--configfile", "toy.yaml", "change.yaml")
    assert status != 0
    (error,) = (line for line in output.splitlines() if "error" in line.lower())
    assert error.startswith(f"error in the configuration: {message}")
    assert "Traceback" not in output and "job" not in output
    assert not (tmp_path / "results").exists()


def test_a_key_given_twice_is_refused_with_its_file_and_lines(tmp_path):
    workspace(tmp_path)
    (tmp_path / "twice.yaml").write_text("seeds: [1]\ntraining: {lr: 0.1}\nseeds: [2]\n")
    status, output = snakemake(tmp_path, "--dry-run", "--configfile", "twice.yaml")
    assert status != 0
    (error,) = (line for line in output.splitlines() if "error" in line.lower())
    assert error.startswith("error in the configuration: ")
    assert "twice.yaml: seeds is there twice, in lines 1 and 3" in error


def test_numbers_on_the_command_line_are_numbers(paper):
    status, output = snakemake(paper, "--dry-run", "--config", "seeds=[1,2]", "--", FIGURE)
    assert status == 0, output
    status, output = snakemake(paper, "--dry-run", "--config", "seeds=[1e0]", "--", FIGURE)
    assert "seeds[0]: '1e0' is not of type integer (in YAML: 1)" in output


def test_a_float_that_is_an_integer_is_the_same_run(finished):
    change = {"training": {"total_updates": float(UPDATES), "layers": 12.0}}
    assert DONE in finished.run("--dry-run", change=change)


def test_a_project_whose_path_has_a_blank_works(tmp_path):
    folder = toy_workspace(tmp_path / "My Project's")
    python = FakeBin(folder / ".venv").python
    target = "results/data/toy/en-de/split.json"
    status, output = snakemake(folder, "--configfile", "toy.yaml", "--", target, python=python)
    assert status == 0, output


@pytest.mark.parametrize("name", ["a{b}c", "{"])
def test_a_path_that_snakemake_would_format_is_one_line(tmp_path, name):
    folder = workspace(tmp_path / name)
    status, output = snakemake(folder, "--dry-run")
    assert status != 0
    assert f"error: {folder}: Snakemake cannot work where" in output and "Traceback" not in output


def test_a_results_link_that_leads_nowhere_is_one_line(tmp_path):
    workspace(tmp_path)
    (tmp_path / "results").symlink_to("/nowhere/at/all")
    status, output = snakemake(tmp_path, "--dry-run")
    assert status != 0
    assert "error: results: a link to /nowhere/at/all, which is not there" in output


def test_a_truncated_archive_is_named_and_once_mended_the_run_goes_on(tmp_path):
    toy_workspace(tmp_path)
    path = archive(tmp_path, "de-en")
    opus_tree.truncate(path)
    target = "results/data/toy/en-de/read.json"
    status, output = snakemake(tmp_path, "--configfile", "toy.yaml", "--", target)
    assert status != 0
    assert f"error: {path.relative_to(tmp_path)}: damaged or truncated" in output
    assert "Traceback" not in output
    assert count(output) == {"download": 1}
    data = tmp_path / "results/data"
    assert [path for path in data.rglob("*") if path.is_file()] == []

    write_corpus(path, "de-en")
    status, output = snakemake(tmp_path, "--configfile", "toy.yaml", "--", target)
    assert status == 0, output
    assert count(output) == {"download": 1, "read": 1}
    downloaded = data / "toy/en-de/download/Toy_v1_moses_de-en.txt.zip"
    assert downloaded.read_bytes() == path.read_bytes()


def test_a_results_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    toy_workspace(tmp_path)
    (tmp_path / "results").write_text("I am a file")
    status, output = snakemake(tmp_path, "--configfile", "toy.yaml")
    assert status != 0
    assert "Traceback" not in output
    assert [line for line in output.splitlines() if line.startswith("error: results: ")]


def test_every_model_is_trained_once_on_its_own_data(finished):
    assert count(finished.first).items() >= dict(train=3, aggregate=3, binarise=2).items()
    trained = {
        (training["task"], training.get("target-lang"), training["data"])
        for training in finished.fake.trainings()[:3]
    }
    data = "results/data/toy/en-de/bin"
    assert trained == {
        ("translation", "de", f"{data}/joint"),
        ("masked_lm", None, f"{data}/en"),
        ("language_modeling", None, f"{data}/en"),
    }


def test_what_is_done_is_not_done_again(finished):
    assert DONE in finished.run()


def test_the_figure_alone_is_redrawn_when_it_is_gone(finished):
    figure = finished.folder / FIGURE
    aside = figure.rename(figure.with_suffix(".aside"))
    assert jobs(finished.run("--dry-run", FIGURE)) == {"figure1": {FIGURE}}
    aside.rename(figure)


EDITS = {
    "a colour": ("drawing/style.py", {"figure1", "figure5", "losses", "report"}, {"claims"}),
    "the style file": ("drawing/lca.mplstyle", {"figure2", "completeness"}, {"table1"}),
    "the bars": ("drawing/bars.py", {"figure1", "figure6"}, {"figure2", "losses", "claims"}),
    "the page": ("page/assets/page.css", {"report"}, {"figure1", "claims"}),
    "a claim": ("analysis/claims/layers.py", {"claims"}, {"figure1", "table1"}),
}
"""Files of src/closer_look, and rules that run again, or do not, when one is edited."""


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_redraws_what_depends_on_it_and_trains_nothing(finished, edit):
    name, again, not_again = EDITS[edit]
    path = finished.folder / "src/closer_look" / name
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    planned = set(jobs(finished.run("--dry-run")))
    path.write_bytes(before)
    assert again <= planned
    assert not planned & (not_again | DATA | BPE | {"train", "score", "aggregate"})


@pytest.fixture(scope="module")
def unpacked(finished, tmp_path_factory):
    """The archive of the finished workspace, made with newer code by a user who ignores that."""
    script = finished.folder / "scripts/training/train.py"
    stamp = script.stat()
    script.touch()
    output = finished.run("results/archive.tar.gz", "--rerun-triggers", "mtime")
    os.utime(script, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert count(output) == {"archive": 1}
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(finished.folder / "results/archive.tar.gz", folder)
    return folder / "archive"


def test_the_archive_has_tables_manifests_and_code_but_neither_models_nor_figures(unpacked):
    found = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    names = {path.name for path in found}
    assert {"run.json", "totals.parquet", "scores.parquet", "split.json", "download.json"} < names
    assert {"Snakefile", "table1.csv", "figures.yaml", "aggregate.py"} < names
    assert not {path for path in found if path.suffix in (".pt", ".gz", ".bin", ".png", ".pyc")}
    assert "log.parquet" not in names


def test_the_archives_configuration_is_the_one_that_was_in_force(unpacked):
    config = yaml.safe_load((unpacked / "config/config.yaml").read_text())
    assert config["runs"] == TOY["runs"]
    assert config["bpe"] == {"vocab_size": 120, "sample": 10000000}


def test_in_the_unpacked_archive_all_that_is_left_to_do_is_drawing(unpacked):
    status, output = snakemake(unpacked, "--dry-run")
    assert status == 0, output
    drawn = RESULTS - {"train", "aggregate", "score"}
    assert jobs(output).keys() == drawn | {"table3"}


def test_in_the_unpacked_archive_a_figure_is_drawn_as_it_was(finished, unpacked):
    figure = "results/figures/figure1.png"
    status, output = snakemake(unpacked, figure)
    assert status == 0, output
    assert count(output) == {"figure1": 1}
    assert (unpacked / figure).read_bytes() == (finished.folder / figure).read_bytes()


def test_a_figure_by_another_estimator_needs_no_more_than_the_figure(finished):
    figure = "results/figures/figure3.next_batch.png"
    assert finished.files().keys().isdisjoint({figure.removeprefix("results/")})
    assert jobs(finished.run("--dry-run", figure)).keys() == {"figure3"}


def test_snakemakes_own_report_has_the_figures_with_captions_and_labels(finished):
    finished.run("--report", "report.html")
    page = (finished.folder / "report.html").read_text()
    for words in (
        "Who lowered the loss?",
        "Beyond the paper",
        "Figure 1",
        "own_batch",
        "stand under it (nats per predicted",
    ):
        assert words in page


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("figures/figure1.foo.pdf", "there is no estimator 'foo'; accepted: own_batch, next_batch"),
        ("runs/toy/mlm/xx/base/1/totals.parquet", "no pair of toy for xx: add one to `runs`"),
        ("tables/agreement.md", "no run is probed at every update; set `training.probe.every: 1`"),
    ],
    ids=["estimator", "run", "truth"],
)
def test_what_the_configuration_does_not_have_is_one_line(finished, target, message):
    status, output = snakemake(
        finished.folder, "--dry-run", f"results/{target}", "--configfile", "toy.yaml"
    )
    assert status != 0
    assert [line for line in output.splitlines() if line.startswith(f"error: {message}")]
    assert "Traceback" not in output and "Exception" not in output


def test_an_estimator_that_will_not_be_recorded_is_one_line_before_any_training(finished):
    (finished.folder / "without.yaml").write_text("training: {trapezoid: {every: 0}}")
    status, output = snakemake(
        finished.folder,
        *("--dry-run", "results/figures/figure1.trapezoid.pdf"),
        *("--configfile", "toy.yaml", "without.yaml"),
    )
    assert status != 0
    (line,) = [line for line in output.splitlines() if line.startswith("error")]
    assert line.startswith("error: trapezoid: not recorded by variant base; with `training.trapez")


def test_an_estimator_that_was_not_recorded_is_one_line(finished):
    path = finished.folder / "results/runs/toy/clm/en/base/1/totals.parquet"
    whole = path.read_bytes()
    totals = pd.read_parquet(path)
    totals[totals["estimator"] != "trapezoid"].to_parquet(path)
    status, output = snakemake(
        finished.folder,
        "results/figures/figure1.trapezoid.pdf",
        *("--rerun-triggers", "mtime", "--configfile", "toy.yaml"),
        python=finished.fake.python,
    )
    path.write_bytes(whole)
    assert status != 0
    assert f"error: {path.relative_to(finished.folder)}: has no trapezoid, only own_batch" in output


def test_a_training_setting_reruns_the_trainings_on_the_same_data(finished):
    planned = finished.plan({"training": {"lr": 0.001}})
    assert planned.keys() == RESULTS
    assert len(planned["train"]) == 3


def test_another_vocabulary_reruns_from_the_bpe_on(finished):
    planned = finished.plan({"bpe": {"vocab_size": 100}})
    assert planned.keys() == BPE | RESULTS
    assert (len(planned["binarise"]), len(planned["train"])) == (2, 3)


def test_another_seed_adds_trainings_only(finished):
    planned = finished.plan({"seeds": [1, 2]})
    made = {"train", "aggregate", "score", "all"} | OF_ALL_SEEDS | OF_ALL_RUNS
    assert planned.keys() == made
    assert len(planned["train"]) == 3
    assert all("/base/2/" in path for path in planned["train"])


def test_a_variant_of_the_training_text_is_made_from_the_binary_data(finished):
    noisy, also = ({"noise": 0.1, "dropout": dropout} for dropout in (0.1, 0.2))
    planned = finished.plan({"variants": {"noisy": noisy, "noisy_too": also}})
    by_variant = {"shapes", "verdicts"}
    steps = {"alter", "train", "aggregate", "score", "all"}
    assert planned.keys() == steps | OF_ALL_RUNS | by_variant
    folder = "results/data/toy/en-de/altered"
    text = "max_train-none/noise-0.1"
    assert planned["alter"] == {f"{folder}/{scope}/{text}" for scope in ("joint", "en")}
    assert len(planned["train"]) == 6


def test_another_card_retrains_nothing(finished):
    assert DONE in finished.run("--dry-run", "--set-resources", "train:max_tokens=1024")


def test_a_language_added_to_a_corpus_reruns_nothing(finished):
    corpora = {"toy": {"languages": ["de", "en", "et", "fi"]}}
    assert finished.plan({"corpora": corpora}) == {}


def test_another_validation_size_reruns_from_the_split_on(finished):
    planned = finished.plan({"corpora": {"toy": {"valid": 10}}})
    assert planned.keys() == {"split", "table3"} | BPE | RESULTS


def test_an_added_pair_runs_only_what_is_new(finished, enlarged):
    files, trainings, output = enlarged
    done = jobs(output)
    made = {"train", "aggregate", "score", "table3", "all"} | OF_ALL_RUNS
    assert done.keys() == DATA | BPE | made
    assert done["train"] == logs("toy", "mlm/fi", "clm/fi", "mt/en-fi")
    data = {path for rule in DATA | BPE for path in done[rule]}
    assert all(path.startswith("results/data/toy/en-fi/") for path in data)
    assert len(done["binarise"]) == 2
    now = finished.files()
    kept = {name: stamp for name, stamp in files.items() if not redrawn(name)}
    assert {name: now.get(name) for name in kept} == kept
    trained = finished.fake.trainings()
    assert trained[: len(trainings)] == trainings
    assert len(trained) == len(trainings) + 3


def test_a_removed_pair_loses_nothing(finished, enlarged):
    before = finished.files()
    assert jobs(finished.run()).keys() == OF_ALL_RUNS | {"table3", "all"}
    after = finished.files()
    assert {name for name in before if after.get(name) != before[name]} == {
        name for name in before if redrawn(name)
    }
    assert "runs/toy/mt/en-fi/base/1/log.parquet" in after


def test_a_lost_log_is_made_again_without_a_training(finished, enlarged):
    run = finished.folder / "results/runs/toy/clm/fi/base/1"
    before, trainings = (run / "totals.parquet").read_bytes(), finished.fake.trainings()
    shutil.rmtree(run)
    totals = run.relative_to(finished.folder) / "totals.parquet"
    output = finished.run(str(totals), change=LARGER)
    assert count(output) == {"train": 1, "aggregate": 1}
    assert (run / "totals.parquet").read_bytes() == before
    assert finished.fake.trainings() == trainings
