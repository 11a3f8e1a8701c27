"""From text to figures, by real trainings."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from sacrebleu.metrics import BLEU, CHRF

import opus_tree
from closer_look.config import of_objective
from closer_look.data.text import read_lines
from closer_look.jobs.job import InputError
from closer_look.jobs.manifest import sha256
from closer_look.training.fairseq_options import PLUGIN, arguments
from closer_look.training.trained_model import TrainedModel
from fake_bin import ROOT, count, snakemake, start_snakemake, workspace
from lca.analysis import logs
from lca.recorder import EXTRA_UPDATES
from real_experiment import CONFIG, MAX_TOKENS, PROBE_EVERY, UPDATES, write_corpus
from scripts.training import train

pytestmark = pytest.mark.slow

PAPER = yaml.safe_load((ROOT / "config/config.yaml").read_text())
TRAINING = of_objective(PAPER["training"] | CONFIG["training"], "mlm")
RUNS = {"mlm": "mlm/en", "clm": "clm/en", "mt": "mt/en-de"}
OPTIONS = (
    *("--configfile", "config.yaml"),
    *("--set-resources", f"train:max_tokens={MAX_TOKENS}", "--"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A workspace in which Figure 1 was drawn by one uninterrupted call."""
    folder = workspace(tmp_path_factory.mktemp("workspace"))
    write_corpus(folder / "opus" / opus_tree.ROOT / "moses" / "de-en.txt.zip")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    status, output = snakemake(folder, *OPTIONS, "results/figures/figure1.pdf")
    assert status == 0, output
    assert count(output)["train"] == 3
    return folder


def run_folder(folder, objective):
    return folder / "results/runs/toy" / RUNS[objective] / "base/1"


def state_of(folder, objective):
    manifest = json.loads((run_folder(folder, objective) / "run.json").read_text())
    return folder / manifest["state"]


def load(checkpoint):
    return torch.load(checkpoint, map_location="cpu", weights_only=False)


def test_figure_1_is_there(folder):
    figures = folder / "results/figures"
    pdf = (figures / "figure1.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    image = plt.imread(figures / "figure1.png")
    assert min(image.shape[:2]) > 300
    assert image[..., :3].std() > 0.02


@pytest.mark.parametrize("objective", RUNS)
def test_the_log_has_every_update_once(folder, objective):
    table = pq.read_table(run_folder(folder, objective) / "log.parquet")
    assert table["update"].to_pylist() == list(range(1, UPDATES + 1))
    values = table.to_pandas()
    sometimes = values.filter(regex="^(trapezoid|probe_train|probe_held_out|dropout)/")
    assert np.isfinite(values.drop(columns=sometimes.columns).to_numpy()).all()
    probed = values["probe_train/after"].dropna()
    assert list(probed.index + 1) == [1, *range(PROBE_EVERY, UPDATES + 1, PROBE_EVERY)]
    loss, lr = table["loss"].to_numpy(), table["learning_rate"].to_numpy()
    assert loss[-5:].mean() < loss[:5].mean()
    warmup = CONFIG["training"]["warmup_updates"]
    assert lr[0] == 0  # fairseq's schedule counts the updates before
    assert lr.argmax() == warmup and lr[warmup] == pytest.approx(CONFIG["training"]["lr"])
    blocks = {row["name"] for row in json.loads(table.schema.metadata[b"blocks"])}
    stacks = {"mlm": {"encoder.1", "encoder.2"}, "clm": {"decoder.1", "decoder.2"}}
    for stack in stacks.get(objective, {"encoder.1", "decoder.1"}):
        assert {f"{stack}.{name}" for name in ("key", "query", "value", "out", "w1", "w2")} < blocks


@pytest.mark.parametrize("objective", RUNS)
def test_the_manifest_tells_what_was_run(folder, objective):
    run = run_folder(folder, objective)
    manifest = json.loads((run / "run.json").read_text())
    assert manifest["run"] == f"toy/{RUNS[objective]}/base/1"
    assert manifest["settings"] == TRAINING
    scope = "joint" if objective == "mt" else "en"
    data = json.loads((folder / f"results/data/toy/en-de/bin/{scope}.json").read_text())
    assert manifest["data"] == data["sha256"]
    assert manifest["sha256"] == {"log": sha256(run / "log.parquet")}
    last = state_of(folder, objective) / "checkpoints/checkpoint_last.pt"
    assert manifest["checkpoint_sha256"] == sha256(last)
    assert load(last)["optimizer_history"][-1]["num_updates"] == UPDATES + EXTRA_UPDATES
    assert (manifest["devices"], manifest["max_tokens"]) == (torch.cuda.device_count(), MAX_TOKENS)
    assert {"torch", "ve-fairseq"} < manifest["packages"].keys()
    (attempt,) = manifest["attempts"]
    assert attempt["started"] <= attempt["finished"]
    assert attempt["from_update"] == 0 and len(attempt["devices"]) == 1
    assert manifest["text"]["corpus"] == CONFIG["corpora"]["toy"]
    assert manifest["text"]["bpe"]["vocab_size"] == 300
    assert f"--lr={TRAINING['lr']}" in manifest["options"].split()


@pytest.mark.parametrize("estimator", ["own_batch", "next_batch"])
def test_a_bar_of_figure_1_is_the_sum_of_its_column(folder, estimator):
    run = run_folder(folder, "mt")
    totals = pd.read_parquet(run / "totals.parquet")
    bar = totals.query(
        f"estimator == '{estimator}' and stack == 'decoder' and layer == 1"
        " and component == 'w1' and head == 0"
    )
    column = pq.read_table(run / "log.parquet")[f"{estimator}/sum/decoder.1.w1"].to_numpy()
    assert bar["lca"].item() == pytest.approx(column.sum(dtype=np.float64), rel=1e-5)
    assert column[1:].all()


def test_the_trapezoid_adds_up_to_the_change_of_the_loss_on_its_text(folder):
    run = run_folder(folder, "clm")
    totals = pd.read_parquet(run / "totals.parquet").query("head == 0")
    strides = logs.strides(run / "log.parquet")
    assert strides["updates"].sum() == UPDATES and strides["updates"].max() == 4
    changes = pd.read_parquet(run / "log.parquet")["trapezoid/changes"].dropna()
    tokens = logs.group_tokens(run / "log.parquet")
    change = np.average(np.sum(changes.tolist(), axis=0), weights=tokens)
    assert change < -0.1
    found = totals.query("estimator == 'trapezoid'")["lca"].sum()
    assert found == pytest.approx(change, rel=0.01)
    assert found - change == pytest.approx(strides["residual"].sum(), abs=1e-5)


def stamps(folder):
    """Return the time stamps of all data and runs."""
    parts = [folder / "results" / part for part in ("data", "runs")]
    files = (path for part in parts for path in part.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files}


SGD = dict(optimizer="sgd", momentum=0.9, lr=0.5, clip_norm=1.0, noise=0.5, max_train=1000)


@pytest.fixture(scope="module")
def varied(folder):
    """The workspace after a control of config/controls.yaml and a variant of much were trained."""
    controls = yaml.safe_load((ROOT / "config/controls.yaml").read_text())["variants"]
    (folder / "variants.yaml").write_text(yaml.safe_dump({"variants": controls | {"sgd": SGD}}))
    before, (configfile, base, *more) = stamps(folder), OPTIONS
    status, output = snakemake(
        folder,
        *(configfile, base, "variants.yaml", *more),
        "results/runs/toy/clm/en/post/1/totals.parquet",
        "results/runs/toy/mt/en-de/sgd/1/totals.parquet",
    )
    assert status == 0, output
    assert count(output) == dict(alter=1, train=2, aggregate=2)
    assert before.items() <= stamps(folder).items()
    return folder


def variant_of(folder, objective, variant):
    """Return the manifest, the log and the last checkpoint of a run."""
    run = folder / "results/runs/toy" / RUNS[objective] / variant / "1"
    manifest = json.loads((run / "run.json").read_text())
    last = load(folder / manifest["state"] / "checkpoints/checkpoint_last.pt")
    return manifest, pq.read_table(run / "log.parquet").to_pandas(), last


def test_a_control_differs_in_its_norm_alone(varied):
    found = [variant_of(varied, "clm", variant) for variant in ("base", "post")]
    (pre, _, of_pre), (post, _, of_post) = found
    assert post["settings"] == pre["settings"] | {"norm": dict.fromkeys(RUNS, "post")}
    assert post["data"] == pre["data"]
    extra = of_pre["model"].keys() - of_post["model"].keys()
    assert extra == {f"decoder.layer_norm.{name}" for name in ("weight", "bias")}


def test_sgd_on_noisy_text_is_a_variant_too(varied):
    manifest, log, last = variant_of(varied, "mt", "sgd")
    text = varied / "results/data/toy/en-de/altered/joint/max_train-1000/noise-0.5.json"
    data = json.loads(text.read_text())
    assert data["parts"]["train.en-de.de"]["sentences"] == 1000
    assert manifest["data"] == data["sha256"]
    assert manifest["settings"].items() >= SGD.items()
    assert log["update"].tolist() == list(range(1, UPDATES + 1))
    assert log["loss"][-5:].mean() < log["loss"][:5].mean() - 0.5
    assert last["optimizer_history"][-1]["optimizer_name"] == "LcaSGD"
    moments = {frozenset(state) for state in last["last_optimizer_state"]["state"].values()}
    assert moments == {frozenset({"step", "last", "last_step", "momentum_buffer", "has_momentum"})}


def test_a_killed_training_ends_as_if_nothing_had_happened(folder):
    run, state = run_folder(folder, "clm"), state_of(folder, "clm")
    log = run / "log.parquet"
    expected = pq.read_table(log).drop_columns("seconds")
    parameters = load(state / "checkpoints/checkpoint_last.pt")["model"]
    shutil.rmtree(run)
    shutil.rmtree(state)
    target = str(log.relative_to(folder))

    process = start_snakemake(folder, *OPTIONS, target)
    deadline = time.monotonic() + 120
    while not list(state.glob("checkpoints/checkpoint_*_10.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    saved = {int(path.stem.split("_")[2]) for path in state.glob("checkpoints/checkpoint_*_*.pt")}
    assert 10 in saved and max(saved) < UPDATES
    assert not log.exists()

    assert snakemake(folder, "--unlock", *OPTIONS[:-1])[0] == 0
    status, output = snakemake(folder, *OPTIONS, target)
    assert status == 0, output
    words = (folder / "results/logs/train/toy/clm/en/base/1.log").read_text()
    assert f"@ {max(saved)} updates" in words
    killed, second = json.loads((run / "run.json").read_text())["attempts"]
    assert (killed["finished"], killed["from_update"]) == (None, 0)
    assert second["finished"] and second["from_update"] == max(saved)
    assert pq.read_table(log).drop_columns("seconds").equals(expected)
    resumed = load(state / "checkpoints/checkpoint_last.pt")["model"]
    assert resumed.keys() == parameters.keys()
    assert all(torch.equal(resumed[name], parameters[name]) for name in parameters)


def test_a_training_stops_at_its_time_limit_and_goes_on(folder, tmp_path, monkeypatch):
    expected = pq.read_table(run_folder(folder, "mlm") / "log.parquet").drop_columns("seconds")
    monkeypatch.chdir(folder)
    data = Path("results/data/toy/en-de/bin/en")
    training = train.Training(
        run="toy/mlm/en/base/1",
        settings=TRAINING,
        data=data,
        data_manifest=data.with_suffix(".json"),
        state=tmp_path / "state",
        max_tokens=MAX_TOKENS,
        threads=1,
        log=tmp_path / "log.parquet",
        manifest=tmp_path / "run.json",
    )
    monkeypatch.setattr("scripts.training.train.hours_left", lambda: 0.01 / 3600)
    stopped = rf"^toy/mlm/en/base/1: stopped at update (\d+) of {UPDATES}: time limit; goes on"
    with pytest.raises(InputError, match=stopped) as first:
        train.main(training)
    with pytest.raises(InputError, match=stopped) as second:
        train.main(training)
    updates = [int(re.match(stopped, str(error.value))[1]) for error in (first, second)]
    assert 0 < updates[0] < updates[1] < UPDATES  # the time before counts in neither
    assert not training.log.exists()
    monkeypatch.setattr("scripts.training.train.hours_left", lambda: None)
    train.main(training)
    assert pq.read_table(training.log).drop_columns("seconds").equals(expected)


def test_the_log_is_gradient_times_displacement(folder, tmp_path):
    """Both follow from consecutive checkpoints: the gradient from Adam's first moment."""
    subprocess.run(
        [
            Path(sys.executable).parent / "fairseq-train",
            folder / "results/data/toy/en-de/bin/en",
            *(f"--user-dir={PLUGIN}", f"--lca-log={tmp_path}/log", f"--save-dir={tmp_path}"),
            *arguments("clm", "en", TRAINING, MAX_TOKENS, torch.cuda.device_count()),
            *("--max-update=4", "--save-interval-updates=1", "--keep-interval-updates=-1"),
        ],
        check=True,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    thetas, moments = [], []
    for update in range(1, 5):
        checkpoint = load(next(tmp_path.glob(f"checkpoint_*_{update}.pt")))
        theta = [p.double() for name, p in checkpoint["model"].items() if "version" not in name]
        states = checkpoint["last_optimizer_state"]["state"]
        m = [states[index]["exp_avg"].double() for index in range(len(states))]
        assert [p.shape for p in theta] == [p.shape for p in m]
        thetas.append(torch.cat([p.flatten() for p in theta]))
        moments.append(torch.cat([p.flatten() for p in m]))
    beta = TRAINING["adam_betas"][0]
    rows = pd.concat(map(pd.read_parquet, sorted((tmp_path / "log").glob("part-*.parquet"))))
    blocks = [name for name in rows if name.startswith("own_batch/sum/") and name.count("/") == 2]
    for update in (3, 4):
        gradient = (moments[update - 1] - beta * moments[update - 2]) / (1 - beta)
        row = rows.set_index("update").loc[update]
        for estimator, step in (("own_batch", update), ("next_batch", update - 1)):
            expected = gradient @ (thetas[step - 1] - thetas[step - 2])
            names = [name.replace("own_batch", estimator) for name in blocks]
            assert row[names].sum() == pytest.approx(expected.item(), rel=1e-4)
            assert abs(expected) > 1e-4


NEWSTEST = {"en": ["Click OK.", "A new line of a long document"], "de": ["Klicken Sie.", "Neu"]}


@pytest.fixture(scope="module")
def scores(folder):
    """The table of scores; sacrebleu finds newstest2018 where it keeps test sets."""
    cache = folder / "sacrebleu/wmt18"
    cache.mkdir(parents=True)
    fields = {"src": NEWSTEST["en"], "ref": NEWSTEST["de"]}
    fields |= dict.fromkeys(("docid", "genre", "origlang"), ["", ""])
    for name, lines in fields.items():
        (cache / f"wmt18.en-de.{name}").write_text("".join(f"{line}\n" for line in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SACREBLEU", str(cache.parent))
        status, output = snakemake(folder, *OPTIONS, "results/tables/scores.csv")
    assert status == 0, output
    assert count(output) == {"download_test_set": 1, "score": 3, "scores": 1}
    table = pd.read_csv(folder / "results/tables/scores.csv")
    return table.set_index(["objective", "test set"])


def run_fairseq(tool, folder, objective, *options):
    """Run one of fairseq's own tools on the test split with a model; return what it printed."""
    scope = "joint" if objective == "mt" else "en"
    return subprocess.run(
        [
            *(Path(sys.executable).parent / tool, folder / "results/data/toy/en-de/bin" / scope),
            *("--user-dir", PLUGIN, "--gen-subset", "test", *options),
            *("--path", state_of(folder, objective) / "checkpoints/checkpoint_last.pt"),
        ],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_every_model_is_scored_on_its_test_sets(scores):
    assert scores.index.to_list() == [
        *(("mlm", "test"), ("clm", "test"), ("mt", "test"), ("mt", "wmt18")),
    ]
    assert scores["sentences"].to_list() == [10, 10, 10, 2]
    assert scores["masked loss"].notna().to_list() == [True, False, False, False]
    assert scores["loss"].notna().to_list() == [False, True, True, False]
    assert scores["BLEU"].notna().to_list() == [False, False, True, True]
    # untrained, all would be the logarithm of 300 pieces at best
    assert (scores[["masked loss", "loss"]].max(axis=1).dropna() < np.log(300) + 0.2).all()


def test_the_perplexity_is_that_of_fairseqs_own_tool(folder, scores):
    printed = run_fairseq("fairseq-eval-lm", folder, "clm", "--tokens-per-sample=32").stderr
    (loss,) = re.findall(r"Loss \(base 2\): ([\d.]+)", printed)
    assert scores["loss"]["clm", "test"] / np.log(2) == pytest.approx(float(loss), abs=2e-4)


def test_the_translations_are_those_of_fairseqs_own_tool(folder, scores):
    options = ("--beam=5", "--max-len-a=1.2", "--max-len-b=10", "--remove-bpe=sentencepiece")
    all_of_them = "--required-batch-size-multiple=1"  # by default the tool leaves the last two out
    printed = run_fairseq("fairseq-generate", folder, "mt", *options, all_of_them).stdout
    hypotheses = {int(n): text for n, text in re.findall(r"^H-(\d+)\t.*\t(.*)$", printed, re.M)}
    translations = [hypotheses[number] for number in range(10)]
    references = list(read_lines(folder / "results/data/toy/en-de/split/test.de.gz"))
    found = scores.loc[("mt", "test")]
    assert found["chrF"] == pytest.approx(CHRF().corpus_score(translations, [references]).score)
    assert found["BLEU"] == pytest.approx(BLEU().corpus_score(translations, [references]).score)
    assert found["chrF"] > 0


def test_masks_are_the_same_whatever_the_seed_and_the_batches(folder, scores, monkeypatch):
    data = folder / "results/data/toy/en-de/bin/en"
    last = load(state_of(folder, "mlm") / "checkpoints/checkpoint_last.pt")
    last["cfg"]["common"]["seed"] = last["cfg"]["task"]["seed"] = 7
    torch.save(last, folder / "seed7.pt")
    monkeypatch.setattr("closer_look.training.trained_model.MAX_TOKENS", 64)
    loss = TrainedModel(folder / "seed7.pt", data).loss("test")
    assert loss.nats / loss.tokens == pytest.approx(scores["masked loss"]["mlm", "test"])
