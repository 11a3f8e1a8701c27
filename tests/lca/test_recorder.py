import json
import random

import pyarrow.parquet as pq
import pytest
import torch

import lca.recorder
import toys
from lca import LAGS, STATISTICS
from lca.allocation import empty, per_block
from lca.blocks import partition
from lca.recorder import EXTRA_UPDATES, LogError, Recorder, columns, consolidate, reached

PART = partition(toys.model("clm"))


def allocation(value):
    """An allocation whose every number tells the update and the cell it is of."""
    found = empty(PART)
    found += torch.arange(len(PART.owners))[:, None] / 20
    return found + value


SIGNS = dict(zip(LAGS.items(), (1, -1), strict=True))


def record(recorder, updates):
    for update in updates:
        facts = dict.fromkeys(
            ["loss", "learning_rate", "gradient_norm", "predicted_tokens", "overflows"], update
        )
        facts |= {"update": update, "loss_scale": 1.0}
        lagging = {lag: allocation(sign * (update - by)) for (lag, by), sign in SIGNS.items()}
        recorder.record(facts, lagging)


def recorded(folder):
    tables = [pq.read_table(part) for part in sorted(folder.glob("part-*.parquet"))]
    return [update for table in tables for update in table["update"].to_pylist()]


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_rows_survive_in_parts_and_are_consolidated(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(lca.recorder, "ROWS", rows)
    recorder = Recorder(tmp_path, PART, {"seed": 1})
    for updates in (range(1, 4), range(4, 5), range(5, 8)):
        record(recorder, updates)
        recorder.close_part()
    log = tmp_path / "log.parquet"
    consolidate(tmp_path, log, 6)
    table = pq.read_table(log)
    assert table["update"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert table["loss"].to_pylist() == [1, 2, 3, 4, 5, 6]
    for update, row in enumerate(table.to_pylist(), 1):
        for number, block in enumerate(PART.blocks):
            own = per_block(allocation(update), PART)[number]
            following = per_block(allocation(-update), PART)[number]
            for statistic, value in zip(STATISTICS, own, strict=True):
                found = row[f"own_batch/{statistic}/{block.name}"]
                assert found == pytest.approx(value.item(), rel=2e-5)
            found = row[f"next_batch/sum/{block.name}"]
            assert found == pytest.approx(following[0].item(), rel=2e-5)
            if block.heads > 1:
                heads = [row[f"own_batch/sum/{block.name}/{h + 1}"] for h in range(block.heads)]
                assert sum(heads) == pytest.approx(own[0].item(), rel=3e-4)
                assert len(set(heads)) == block.heads
    assert json.loads(table.schema.metadata[b"blocks"]) == PART.table()
    assert json.loads(table.schema.metadata[b"about"]) == {"seed": 1}


@pytest.mark.parametrize("restored", [0, 1, 3, 4, 5, 6])
def test_resuming_drops_the_rows_beyond_the_restored_update(tmp_path, restored):
    recorder = Recorder(tmp_path, PART, {})
    for updates in (range(1, 4), range(4, 7)):
        record(recorder, updates)
        recorder.close_part()
    record(recorder, range(7, 9))  # never closed: lost with the process
    resumed = Recorder(tmp_path, PART, {})
    resumed.resume(restored)
    assert recorded(tmp_path) == list(range(1, restored + 1))
    record(resumed, range(restored + 1, 11))
    resumed.close_part()
    consolidate(tmp_path, tmp_path / "log.parquet", 9)
    assert pq.read_table(tmp_path / "log.parquet")["loss"].to_pylist() == list(range(1, 10))


def test_rows_missing_before_the_restored_update_are_an_error(tmp_path):
    recorder = Recorder(tmp_path, PART, {})
    record(recorder, range(1, 4))
    recorder.close_part()
    with pytest.raises(LogError, match="ends at update 3 instead of 5"):
        Recorder(tmp_path, PART, {}).resume(5)


@pytest.mark.parametrize("recorded_so_far", [0, 1])
def test_a_log_of_no_update_is_refused(tmp_path, recorded_so_far):
    recorder = Recorder(tmp_path, PART, {})
    record(recorder, range(1, recorded_so_far + 1))
    recorder.close_part()
    with pytest.raises(LogError, match="no update to write"):
        consolidate(tmp_path, tmp_path / "log.parquet", recorded_so_far - EXTRA_UPDATES)
    assert not (tmp_path / "log.parquet").exists()


def test_a_gap_is_an_error_that_names_the_part(tmp_path):
    recorder = Recorder(tmp_path, PART, {})
    for updates in (range(1, 4), range(5, 7)):
        record(recorder, updates)
        recorder.close_part()
    with pytest.raises(
        LogError, match=r"part-000000005-000000006.*starts at update 5 instead of 4"
    ):
        consolidate(tmp_path, tmp_path / "log.parquet", 5)
    assert not (tmp_path / "log.parquet").exists()


@pytest.fixture
def parts(tmp_path):
    """Three parts of three updates each."""
    recorder = Recorder(tmp_path, PART, {})
    for first in (1, 4, 7):
        record(recorder, range(first, first + 3))
        recorder.close_part()
    return sorted(tmp_path.glob("part-*.parquet"))


def test_a_log_without_damage_is_reached_to_its_end(parts):
    assert reached(parts[0].parent) == (9, "")


def test_every_flipped_bit_is_noticed_and_the_log_ends_before_its_part(parts):
    content = parts[1].read_bytes()
    for position in random.Random(1).sample(range(8 * len(content)), 100):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        parts[1].write_bytes(flipped)
        assert reached(parts[1].parent) == (3, f"{parts[1]}: damaged")
    with pytest.raises(LogError, match=f"^{parts[1]}: damaged$"):
        consolidate(parts[1].parent, parts[1].with_name("log.parquet"), 8)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_log_ends_before_a_part_that_is_lost(parts, number):
    parts[number].unlink()
    update, damage = reached(parts[number].parent)
    assert update == 3 * number
    following = 3 * (number + 1) + 1
    assert damage.endswith(f"starts at update {following} instead of {update + 1}" * (number < 2))


@pytest.mark.parametrize("spoil", [b"", b"PAR1 and no more"])
def test_parts_of_before_there_were_checksums_are_read_through(parts, spoil):
    for part in parts:
        part.with_name(f"{part.name}.sha256").unlink()
    assert reached(parts[0].parent) == (9, "")
    parts[2].write_bytes(spoil)
    assert reached(parts[0].parent) == (6, f"{parts[2]}: damaged")


def test_a_part_that_the_disk_does_not_give_is_damaged_but_one_of_another_user_is_not(
    parts, monkeypatch
):
    def refuse(error):
        def refused(path):
            raise error

        monkeypatch.setattr(lca.recorder, "is_intact", refused)

    refuse(OSError(5, "Input/output error"))
    assert reached(parts[0].parent) == (0, f"{parts[0]}: damaged")
    refuse(PermissionError(13, "Permission denied"))
    with pytest.raises(PermissionError):
        reached(parts[0].parent)


def test_a_part_that_was_about_to_replace_a_longer_one_is_taken(parts):
    """As a kill leaves it between the two steps of `resume`."""
    longer = parts[1].read_bytes()
    Recorder(parts[0].parent, PART, {}).resume(5)
    parts[1].write_bytes(longer)
    assert reached(parts[0].parent) == (5, "")


def test_a_part_that_is_written_again_has_its_own_checksum(parts):
    recorder = Recorder(parts[0].parent, PART, {})
    for part in parts[2:]:
        part.unlink()  # but not its checksum
    record(recorder, range(7, 10))  # at another time
    recorder.close_part()
    assert reached(parts[0].parent) == (9, "")


def test_a_full_disk_leaves_no_half_written_part(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, PART, {})
    record(recorder, range(1, 3))
    recorder.close_part()
    record(recorder, range(3, 5))

    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", no_space)
        with pytest.raises(OSError, match="No space left"):
            recorder.close_part()
    assert recorded(tmp_path) == [1, 2]
    recorder.close_part()
    assert recorded(tmp_path) == [1, 2, 3, 4]


def test_columns_are_named_by_estimator_statistic_block_and_head():
    names = columns(PART, "own_batch")
    assert len(names) == len(set(names))
    assert "own_batch/positive/decoder.2.key" in names
    assert "own_batch/sum/decoder.2.out/2" in names
    assert "own_batch/sum/decoder.2.w1/1" not in names


def test_what_is_not_measured_at_every_update_is_null(tmp_path):
    recorder = Recorder(tmp_path, PART, {}, ["own_batch", "trapezoid", "probe_train"])
    own = {"own_batch": allocation(1)}
    losses = {"dropout/before": 2.5, "dropout/before_by_batch": [2.0, 2.75]}
    recorder.record({"update": 1, **losses}, own | {"probe_train": allocation(7)})
    facts = {"update": 2, "trapezoid/updates": 2, "trapezoid/changes": [0.5, -0.5]}
    groups = [allocation(3), allocation(4)]
    recorder.record(facts, own | {"trapezoid": torch.stack(groups)})
    recorder.record({"update": 3}, own)
    recorder.close_part()
    consolidate(tmp_path, tmp_path / "log.parquet", 2)
    table = pq.read_table(tmp_path / "log.parquet")
    block = PART.blocks[0].name
    assert table["dropout/before"].to_pylist() == [2.5, None]
    assert table["dropout/before_by_batch"].to_pylist() == [[2.0, 2.75], None]
    assert table["trapezoid/updates"].to_pylist() == [None, 2]
    assert table["trapezoid/changes"].to_pylist() == [None, [0.5, -0.5]]
    assert not [name for name in table.column_names if name.startswith("trapezoid/positive")]
    assert table[f"own_batch/sum/{block}"].null_count == 0
    sums = [per_block(group, PART)[0, 0].item() for group in groups]
    assert table[f"trapezoid/sum/{block}"].to_pylist() == [None, pytest.approx(sums, rel=1e-4)]
    assert [v is None for v in table[f"probe_train/sum/{block}"].to_pylist()] == [False, True]


def test_what_there_is_no_column_for_is_refused(tmp_path):
    recorder = Recorder(tmp_path, PART, {}, ["own_batch"])
    with pytest.raises(ValueError, match="^the log has no columns for learning_rat$"):
        recorder.record({"update": 1, "learning_rat": 0.1}, {"own_batch": allocation(1)})
    with pytest.raises(ValueError, match="^the log has no columns for trapezoid$"):
        recorder.record({"update": 1}, {"own_batch": allocation(1), "trapezoid": allocation(1)})
    assert not recorder.rows
