"""What is done again where all is done, and what is not."""

import shutil
from pathlib import Path

import pytest

from fake_bin import UPDATES, count, jobs
from toy_experiment import (
    BPE,
    BY_VARIANT,
    DATA,
    LARGER,
    OF_ALL_RUNS,
    OF_ALL_SEEDS,
    RESULTS,
    logs,
    rules,
)

DONE = "Nothing to be done"
FIGURE = "results/figures/figure1.pdf"


@pytest.fixture(scope="module")
def enlarged(finished):
    """The finished workspace after a pair was added: files and trainings before, the output."""
    before = finished.files(), finished.fake.trainings()
    return *before, finished.run(change=LARGER)


def redrawn(name):
    """Whether a file is drawn from all runs or data."""
    return not name.startswith("runs/") and Path(name).stem in OF_ALL_RUNS | {"table3"}


def test_a_float_that_is_an_integer_is_the_same_run(finished):
    change = {"training": {"total_updates": float(UPDATES), "layers": 12.0}}
    assert DONE in finished.run("--dry-run", change=change)


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


def test_a_training_setting_reruns_the_trainings_on_the_same_data(finished):
    planned = finished.plan({"training": {"lr": 0.001}})
    assert rules(planned) == RESULTS
    assert len(planned["train"]) == 3


def test_another_vocabulary_reruns_from_the_bpe_on(finished):
    planned = finished.plan({"bpe": {"vocab_size": 100}})
    assert rules(planned) == BPE | RESULTS
    assert (len(planned["binarise"]), len(planned["train"])) == (2, 3)


def test_another_seed_adds_trainings_only(finished):
    planned = finished.plan({"seeds": [1, 2]})
    made = {"train", "aggregate", "score", "all"} | OF_ALL_SEEDS | OF_ALL_RUNS
    assert rules(planned) == made
    assert len(planned["train"]) == 3
    assert all("/base/2/" in path for path in planned["train"])


def test_a_variant_of_the_training_text_is_made_from_the_binary_data(finished):
    noisy, also = ({"noise": 0.1, "dropout": dropout} for dropout in (0.1, 0.2))
    planned = finished.plan({"variants": {"noisy": noisy, "noisy_too": also}})
    steps = {"alter", "train", "aggregate", "score", "all"}
    assert rules(planned) == steps | OF_ALL_RUNS | BY_VARIANT
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
    assert rules(planned) == {"split", "table3"} | BPE | RESULTS


def test_an_added_pair_runs_only_what_is_new(finished, enlarged):
    files, trainings, output = enlarged
    done = jobs(output)
    made = {"train", "aggregate", "score", "table3", "all"} | OF_ALL_RUNS
    assert rules(done) == DATA | BPE | made
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
    assert rules(jobs(finished.run())) == OF_ALL_RUNS | {"table3", "all"}
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
