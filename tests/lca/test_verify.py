import math
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import toys
from lca import LAGS
from lca.allocation import add_terms, empty
from lca.blocks import partition
from lca.recorder import LogError, Recorder, consolidate
from lca.verify import main, verify

PART = partition(toys.model("clm"))
STRIDES = {1: 1, 3: 2, 6: 3}


def allocation(seed):
    """The allocation of random terms."""
    generator = torch.Generator().manual_seed(seed)
    found = empty(PART)
    for piece in PART.slices:
        add_terms(found, piece, torch.randn(piece.numel, generator=generator))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    about = {"trapezoid_tokens": [1, 1]}
    recorder = Recorder(folder, PART, about, [*LAGS, "trapezoid", "probe_train"])
    names = ["loss", "learning_rate", "gradient_norm", "predicted_tokens", "loss_scale"]
    for update in range(1, 8):
        facts = dict.fromkeys(names, 1) | {"update": update, "overflows": 0}
        recorded = {lag: allocation(100 * by + update) for lag, by in LAGS.items()}
        if update % 3 == 1:
            recorded |= {"probe_train": allocation(1000 + update)}
        if update in STRIDES:
            facts |= {"trapezoid/updates": STRIDES[update], "trapezoid/changes": [0.0, 1.0]}
            groups = [allocation(seed + update) for seed in (2000, 3000)]
            recorded["trapezoid"] = torch.stack(groups)
        recorder.record(facts, recorded)
    recorder.close_part()
    consolidate(folder, folder / "log.parquet", 6)
    return folder / "log.parquet"


def test_a_whole_log_passes(whole, capsys):
    assert verify(whole) == 6
    assert main([str(whole)]) == 0
    assert "whole, updates 1 to 6" in capsys.readouterr().out


def changed(whole, tmp_path, column, value, row=2):
    table = pq.read_table(whole)
    values = table[column].to_pylist()
    values[row] = value(values[row])
    index = table.column_names.index(column)
    field = table.schema.field(index)
    path = tmp_path / "log.parquet"
    pq.write_table(table.set_column(index, field, pa.array(values, field.type)), path)
    return path


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("probe_train/sum/decoder.1.w1", lambda _: 7.0, "embeddings is not finite"),
        ("update", lambda _: 7, "has update 7 in place of 3"),
        ("own_batch/sum/decoder.1.w1", lambda _: float("nan"), "w1 is not finite"),
        ("loss", lambda _: float("inf"), "update 3: loss is not finite"),
        ("gradient_norm", lambda _: float("nan"), "update 3: gradient_norm is not finite"),
        ("own_batch/sum/decoder.1.key/2", lambda _: float("inf"), "key has a head that is not f"),
        ("own_batch/sum/decoder.1.key/2", lambda _: float("nan"), "key has a head that is not f"),
        ("own_batch/sum/decoder.1.key/2", lambda old: old + 1, "key is not the sum of the heads"),
        ("next_batch/sum/decoder.2.out", lambda old: old - 1, "out is not the sum of the heads"),
        ("next_batch/positive/decoder.1.w2", lambda old: -old, "w2 is negative"),
        ("next_batch/sum/decoder.1.w2", lambda _: 1e4, "positive/decoder.1.w2 is less than the"),
        ("trapezoid/sum/decoder.1.w1", lambda _: None, "update 3: trapezoid/sum/decoder.1.w1 does"),
        ("trapezoid/sum/decoder.1.w1", lambda old: old[:1], "w1 does not fit the strides"),
        ("trapezoid/sum/decoder.1.w1", lambda old: [old[0], math.nan], "w1 is not finite"),
        ("trapezoid/sum/decoder.1.key", lambda old: [old[0], old[1] + 1], "key is not the sum of"),
        ("trapezoid/updates", lambda _: 1, "update 3: trapezoid/updates is out of place"),
        ("trapezoid/updates", lambda _: None, "update 6: trapezoid/updates is out of place"),
        ("own_batch/helping/decoder.1.w2", lambda _: 1e6, "w2 is too many elements"),
    ],
)
def test_a_flaw_is_named(whole, tmp_path, column, value, message, capsys):
    path = changed(whole, tmp_path, column, value)
    with pytest.raises(LogError, match=message):
        verify(path)
    assert main([str(path)]) == 1
    assert message in capsys.readouterr().err


def test_a_flipped_bit_is_noticed_wherever_it_changes_something(whole, tmp_path):
    """Any of 100; flipped in the padding between pages, it changes nothing."""
    content, rng = whole.read_bytes(), random.Random(0)
    path, expected = tmp_path / "log.parquet", pq.read_table(whole)
    refused = 0
    for _ in range(100):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            verify(path)
        except LogError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert pq.read_table(path).equals(expected, check_metadata=True)
    assert refused > 50


def test_what_is_no_log_is_named(tmp_path):
    path = tmp_path / "log.parquet"
    path.write_text("nothing")
    with pytest.raises(LogError, match="cannot be read as a log"):
        verify(path)
