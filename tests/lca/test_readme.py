"""The examples of the library's page, as they stand there: each on the same small training."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import hugging_face
import lca
from lca import verify
from lca.analysis import logs

PAGE = (Path(__file__).parents[2] / "src/lca/README.md").read_text(encoding="utf-8")
LOOP, TRAINER, LIGHTNING, AFTERWARDS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
UPDATES = 40


def loss_of(model, batch):
    return model(**batch).loss


def batches(seed, number):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(number):
        tokens = torch.randint(0, hugging_face.VOCABULARY, (4, 7), generator=generator)
        tokens[:, 1::2] = tokens[:, :-1:2]  # every other one can be learned
        yield {"input_ids": tokens, "labels": labelled(tokens)}


def labelled(tokens):
    """The first token is predicted from nothing: `Trainer` divides by the others only if told."""
    labels = tokens.clone()
    labels[..., 0] = -100
    return labels


class Rows(IterableDataset):
    """The sequences of the batches one by one, for a trainer that collates them itself."""

    def __iter__(self):
        for batch in batches(0, UPDATES):
            for tokens in batch["input_ids"]:
                yield {"input_ids": tokens, "labels": labelled(tokens)}


def small_gpt2():
    model = hugging_face.model("gpt2").train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # each trainer draws random numbers of its own
    return model


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the logs of the three ways in."""
    from transformers import TrainingArguments

    folder, found = tmp_path_factory.mktemp("runs"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, example in (("loop", LOOP), ("trainer", TRAINER), ("lightning", LIGHTNING)):
            names = {
                "model": small_gpt2(),
                "loss_of": loss_of,
                "sample": list(batches(1, 20)),
                "batches": DataLoader(list(batches(0, UPDATES)), batch_size=None, shuffle=False),
                "data": Rows(),
            }
            if name == "trainer":
                names["arguments"] = TrainingArguments(
                    *("checkpoints",),
                    max_steps=UPDATES,
                    per_device_train_batch_size=4,
                    lr_scheduler_type="constant",
                    use_cpu=True,
                    report_to=[],
                )
            exec(example, names)
            found[name] = names["recording"].log.absolute()
    return found


@pytest.mark.parametrize("way", ["trainer", "lightning"])
def test_the_ways_in_record_the_same(recorded, way):
    for group in ("own_batch", "next_batch", "trapezoid"):
        expected = logs.series(recorded["loop"], group, "sum")
        found = logs.series(recorded[way], group, "sum")
        pd.testing.assert_frame_equal(found, expected, rtol=1e-2, atol=1e-5)
    norms = [logs.facts(recorded[name])["gradient_norm"] for name in ("loop", way)]
    pd.testing.assert_series_equal(*norms, rtol=1e-3)
    assert (norms[0] > 1).any()  # some were clipped


@pytest.mark.parametrize("way", ["loop", "trainer", "lightning"])
def test_what_adds_up_is_the_whole_training(recorded, way):
    found = lca.read(recorded[way]).adds_up
    assert (found["update"] == UPDATES - 1).all()
    assert found["lca"].iloc[2] == pytest.approx(
        logs.series(recorded[way], "trapezoid", "sum").sum().sum(), rel=1e-3
    )


def test_the_logs_are_whole(recorded):
    assert verify.main(list(map(str, recorded.values()))) == 0
    assert logs.count_updates(recorded["loop"]) == UPDATES - 1


def test_a_log_is_read_and_drawn(recorded, tmp_path, monkeypatch):
    import matplotlib

    backend, settings = matplotlib.get_backend(), dict(matplotlib.rcParams)
    monkeypatch.chdir(tmp_path)
    log = lca.read(recorded["loop"])
    assert log.best == "trapezoid"
    assert set(log.totals["component"]) >= {"query", "key", "value", "out", "w1", "w2"}
    assert log.adds_up["estimator"].tolist() == ["own_batch", "next_batch", "trapezoid"]

    class Recording:
        log = recorded["loop"]

    exec(AFTERWARDS, {"lca": lca, "recording": Recording})
    assert (tmp_path / "bars.png").stat().st_size
    for draw in (lca.plot.curves, lca.plot.heads):
        for estimator in ("own_batch", "trapezoid"):
            assert draw(log, estimator).axes
    other = log.completeness.assign(reference="held_out")
    of_two = replace(log, completeness=pd.concat([log.completeness, other]))
    (drawn,), (expected,) = (lca.plot.completeness(each).axes for each in (of_two, log))
    assert [len(line.get_xdata()) for line in drawn.lines] == [
        len(line.get_xdata()) for line in expected.lines
    ]
    with pytest.raises(ValueError, match="no estimator 'probe', only own_batch"):
        lca.plot.bars(log, "probe")
    assert (matplotlib.get_backend(), dict(matplotlib.rcParams)) == (backend, settings)


def test_the_examples_are_short():
    for example in (LOOP, TRAINER, LIGHTNING):
        assert len([line for line in example.splitlines() if line.strip()]) <= 15
