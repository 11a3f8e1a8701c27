import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
from fairseq.data import Dictionary
from fairseq.models import build_model
from test_train import parsed

from closer_look import config_file
from closer_look.config import settings_by_run
from closer_look.jobs.lock import locked
from closer_look.plan import parameters, plan, seconds_here, with_sums
from closer_look.status import status
from closer_look.training import progress as module
from closer_look.training.calibration import seconds_per_update
from closer_look.training.progress import markdown, progress
from fake_bin import ROOT, write_log
from lca.recorder import EXTRA_UPDATES
from toys import OBJECTIVES

RUN = "toy/clm/en/base/1"
SETTINGS = {"total_updates": 40, "tokens_per_update": 1000, "layers": 12}
SETTINGS |= {"embed_dim": 512, "ffn_dim": 2048}
SPEEDS = {"V100": {"clm": 20}}


@pytest.fixture
def results(tmp_path):
    """Results of a training whose log ends at update 10 of 40, 2 seconds each, in two parts."""
    folder = tmp_path / "state/toy-clm-en-base-1-0123456789ab"
    write_log(folder / "log", 10 - EXTRA_UPDATES, 5)
    for part in (folder / "log").glob("part-*.parquet"):
        table = pd.read_parquet(part).assign(seconds=lambda rows: 1e9 + 2.0 * rows["update"])
        table.to_parquet(part)
    (tmp_path / "logs/train/toy/clm/en/base").mkdir(parents=True)
    return tmp_path


def write_trainers_log(results, text):
    (results / "logs/train" / f"{RUN}.log").write_text(text)


def look(results):
    return progress(results / "state", RUN, results / "logs/train" / f"{RUN}.log")


def test_the_last_part_tells_update_loss_and_speed(results):
    found = look(results)
    assert (found.update, found.seconds, found.holder) == (10, 2.0, "")
    assert found.loss == pytest.approx(8.0)  # of updates 6 to 10: the fake's loss is its number


def test_a_damaged_part_and_the_state_of_another_user_tell_nothing(results, monkeypatch):
    (folder,) = (results / "state").iterdir()
    sorted((folder / "log").glob("part-*.parquet"))[-1].write_bytes(b"PAR1")

    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    (folder / "lock").touch()
    monkeypatch.setattr(module.fcntl, "flock", refused)
    found = progress(results / "state", RUN, results / "none")
    assert (found.update, found.holder) == (0, "")
    assert math.isnan(found.loss)


def test_the_trainers_log_is_ahead_of_the_parts(results):
    write_trainers_log(
        results, "train_inner | loss=7.1, num_updates=15, lr=1\n... num_updates 16 | lr 0\n"
    )
    assert look(results).update == 16


def test_a_run_that_has_not_begun(tmp_path):
    found = look(tmp_path)
    assert (found.update, found.holder) == (0, "")
    assert math.isnan(found.loss) and math.isnan(found.seconds)


def test_who_trains_a_run_is_seen_by_its_lock(results):
    with locked(next((results / "state").iterdir())):
        assert "process" in look(results).holder
    assert look(results).holder == ""


def test_status(results):
    with locked(next((results / "state").iterdir())):
        (row,) = status({RUN: SETTINGS}, results).to_dict("records")
    assert row.pop("").count("process") == 1
    assert row == {
        "run": RUN,
        "update": 10,
        "of": 40,
        "loss": pytest.approx(8.0),
        "tokens/s": 500.0,
        "hours left": pytest.approx(30 * 2 / 3600),
    }


def test_the_status_of_what_is_done_stopped_or_not_begun(results):
    done = results / "runs/toy/mlm/en/base/1/log.parquet"
    done.parent.mkdir(parents=True)
    done.touch()
    names = [RUN, "toy/mlm/en/base/1", "toy/mt/en-de/base/1"]
    table = status(dict.fromkeys(names, SETTINGS), results)
    assert table[""].tolist() == ["stopped", "done", "not begun"]
    assert table["update"].tolist() == [10, 40, 0]


def test_the_plan_has_what_is_left(results):
    table = plan({RUN: SETTINGS, "toy/clm/de/base/1": SETTINGS}, SPEEDS, 32000, results)
    assert table["run"].tolist() == [RUN, "toy/clm/de/base/1"]
    assert table["updates"].tolist() == [30, 40]
    assert table["h V100"].tolist() == pytest.approx([30_000 / 20 / 3600, 40_000 / 20 / 3600])
    assert table["h here"][0] == pytest.approx(60 / 3600) and math.isnan(table["h here"][1])
    assert with_sums(table)["updates"].tolist() == [30, 40, 70]


def test_what_is_done_tells_the_speed_of_its_objective_and_size(tmp_path):
    """Of any corpus: a short training of the same size calibrates the plan of a long one."""
    done = tmp_path / "runs/short/clm/en/base/1"
    done.mkdir(parents=True)
    log = pd.DataFrame({"update": [1, 2, 3, 4], "seconds": [10.0, 13.0, 16.0, 90.0]})
    log.to_parquet(done / "log.parquet")
    facts = {"run": "short/clm/en/base/1", "settings": SETTINGS | {"total_updates": 4}}
    (done / "run.json").write_text(json.dumps(facts))
    names = [RUN, "toy/mlm/en/base/1"]
    speeds = {"V100": {"clm": 20, "mlm": 20}}
    same, masked = plan(dict.fromkeys(names, SETTINGS), speeds, 32000, tmp_path)["h here"]
    assert same == pytest.approx(40 * 3 / 3600) and math.isnan(masked)
    narrow = plan({RUN: SETTINGS | {"embed_dim": 64}}, speeds, 32000, tmp_path)
    assert narrow["h here"].isna().all()


def test_what_no_run_tells_is_measured_once(tmp_path, monkeypatch):
    asked = []

    def measure(objective, settings, vocabulary):
        asked.append(objective)
        return 2.0

    wanted = {name: SETTINGS for name in (RUN, "other/clm/de/base/1", "toy/mlm/en/base/1")}
    for _ in range(2):
        here = seconds_here(wanted, 32000, tmp_path, measure)
        assert asked == ["clm", "mlm"]
        speeds = {"V100": {"clm": 20, "mlm": 20}}
        table = plan(wanted, speeds, 32000, tmp_path, here)
        assert table["h here"].tolist() == pytest.approx([40 * 2 / 3600] * 3)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    needs_card = dict.fromkeys(wanted, SETTINGS | {"precision": "fp16"})
    assert seconds_here(needs_card, 32000, tmp_path / "other", measure) == {}


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mlm", "clm", "mt"])
def test_a_few_updates_are_timed(objective):
    config = config_file.load([ROOT / "config/demo.yaml"])
    by_run = settings_by_run(config)
    settings = next(by_run[run] for run in by_run if run.split("/")[1] == objective)
    small = settings | {"embed_dim": 16, "ffn_dim": 32, "tokens_per_update": 8192}
    assert 0.01 < seconds_per_update(objective, small, 100) < 600


def test_what_is_done_is_not_planned(results):
    done = results / "runs" / RUN / "log.parquet"
    done.parent.mkdir(parents=True)
    done.touch()
    assert plan({RUN: SETTINGS}, SPEEDS, 32000, results).empty


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_parameters_are_about_those_of_fairseqs_model(objective):
    small = {"layers": 4, "embed_dim": 32, "ffn_dim": 128, "heads": 2}
    found = parsed(objective, **small)
    dictionary = Dictionary()
    for number in range(996):
        dictionary.add_symbol(f"w{number}")
    names = ("source_dictionary", "target_dictionary", "dictionary")
    task = SimpleNamespace(**dict.fromkeys(names, dictionary))
    parameters_of = build_model(found.model, task).named_parameters()
    matrices = (p for name, p in parameters_of if p.ndim == 2 and "positions" not in name)
    count = sum(p.numel() for p in matrices)
    assert parameters(small, objective, 1000) == pytest.approx(count, rel=0.03)


def test_what_is_missing_is_blank():
    assert "nan" not in markdown(pd.DataFrame({"a": [1.5, math.nan]}), ".1f")
