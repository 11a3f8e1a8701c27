"""The log: one row for each update, appended in Parquet parts that close with the checkpoints.

A part is written, synced and renamed before its checkpoint is, so that every checkpoint finds the
rows up to its update; rows that a killed run wrote beyond the checkpoint it resumes from are
dropped. Beside each part lies its checksum. The parts are consolidated once training is over.

Columns: `update` and the facts of `FACTS`; then, for every group of values and every block,
`GROUP/STATISTIC/BLOCK` (nats per predicted token; counts are of elements), and for every head
`GROUP/sum/BLOCK/HEAD`, heads counting from 1. See `BITS` for their precision.

A group is one of `lca.LAGS`; or `trapezoid`, which has no statistic but the sum, for each group of
text one, in a list, and is null but where a stride ended, all of which it stands for (see
`lca.trapezoid`); or `probe_SET` for the fixed batches of `lca.PROBES`, which with the losses
measured on them are null but where the update was probed.

In the parts, the columns of a lag are of the update so much earlier, whose value this one
completed; consolidating moves them to their own row.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from . import LAGS, PROBES, STATISTICS
from .allocation import per_block
from .blocks import Partition
from .files import LogError, is_intact, remove, whole, write_checksum

FACTS = {
    "update": pa.int32(),
    "loss": pa.float32(),  # nats per predicted token, of this update's batch before the step
    "learning_rate": pa.float32(),
    "gradient_norm": pa.float32(),
    "predicted_tokens": pa.int32(),
    "loss_scale": pa.float32(),
    "overflows": pa.int32(),  # steps skipped since the last update
    "seconds": pa.float64(),  # wall time since the epoch
    "trapezoid/updates": pa.int32(),  # of the stride that this one ends
    "trapezoid/changes": pa.list_(pa.float32()),  # of the loss of each group of text, in a stride
    "dropout/before": pa.float32(),  # losses on fixed training text with dropout; of update 1 only
    "dropout/after": pa.float32(),
    # The same batch by batch: how many tokens each predicts, `about` says as `dropout_tokens`.
    "dropout/before_by_batch": pa.list_(pa.float32()),
    "dropout/after_by_batch": pa.list_(pa.float32()),
}
for _set in PROBES:
    FACTS |= {
        f"probe_{_set}/before": pa.float64(),  # losses without dropout
        f"probe_{_set}/after": pa.float64(),
        f"probe_{_set}/residual": pa.float32(),  # see `probe.Integral`
        f"probe_{_set}/intervals": pa.int16(),
    }
EXTRA_UPDATES = max(LAGS.values())
ROWS = 10_000  # of a row group of the consolidated log, at least
BITS = {"block": 16, "head": 12}
"""Significant bits of the sums; the others are noise, and would be a third of the log."""

FORMAT = dict(
    compression="zstd",
    use_dictionary=False,
    use_byte_stream_split=True,
    write_statistics=False,  # of thousands of columns, in every row group
    write_page_checksum=True,
)


def statistics(group: str) -> tuple[str, ...]:
    """Return the statistics of a block that a group has."""
    return ("sum",) if group == "trapezoid" else STATISTICS


def columns(partition: Partition, group: str) -> list[str]:
    """Return the names of the columns of a group, in the order of `values`."""
    names = [
        f"{group}/{statistic}/{block.name}"
        for statistic in statistics(group)
        for block in partition.blocks
    ]
    for block in partition.blocks:
        if block.heads > 1:
            names += [f"{group}/sum/{block.name}/{head + 1}" for head in range(block.heads)]
    return names


def values(partition: Partition, group: str, allocation: Tensor) -> list[Any]:
    """Return an allocation as the values of `columns`; one of several groups of text, `(groups,
    cells, 4)`, as a list for each column."""
    allocation = allocation.cpu()
    if allocation.ndim == 3:
        by_group = [values(partition, group, each) for each in allocation]
        return [list(column) for column in zip(*by_group, strict=True)]
    blocks = per_block(allocation, partition)
    blocks[:, :2] = _rounded(blocks[:, :2], BITS["block"])
    row = blocks[:, : len(statistics(group))].T.flatten().tolist()
    sums = _rounded(allocation[:, 0], BITS["head"]).tolist()
    heads = [partition.blocks[owner].heads for owner in partition.owners]
    return row + [value for value, count in zip(sums, heads, strict=True) if count > 1]


def _type(column: str) -> pa.DataType:
    """Return the type of a column of `columns`."""
    is_of_groups = column.startswith("trapezoid/")
    return pa.list_(pa.float32()) if is_of_groups else pa.float32()


def _rounded(values: Tensor, bits: int) -> Tensor:
    """Round to so many significant bits."""
    fraction, exponent = torch.frexp(values)
    return torch.ldexp(torch.round(fraction * 2**bits), exponent - bits)


class Recorder:
    """Appends rows to the log in `folder`, which it makes.

    `about` (facts of the run) and the table of blocks go into the Parquet metadata of every part.
    `groups` of values are recorded, see above.
    """

    def __init__(
        self,
        folder: str | Path,
        partition: Partition,
        about: dict[str, Any],
        groups: Iterable[str] = LAGS,
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.partition = partition
        self.columns = {group: columns(partition, group) for group in groups}
        names = [name for names in self.columns.values() for name in names]
        fields = [*FACTS.items(), *((name, _type(name)) for name in names)]
        metadata = {"blocks": json.dumps(partition.table()), "about": json.dumps(about)}
        schema = pa.schema(fields, metadata)
        self.schema = schema.with_metadata(metadata | {"fingerprint": fingerprint(schema)})
        self.rows: list[list[Any]] = []

    def record(self, facts: dict[str, Any], allocations: dict[str, Tensor]) -> None:
        """Add the row of an update: what is known of `FACTS`, and an allocation for each group.

        Raises `ValueError` for what there are no columns for.
        """
        unknown = (facts.keys() - FACTS.keys()) | (allocations.keys() - self.columns.keys())
        if unknown:
            raise ValueError(f"the log has no columns for {', '.join(sorted(unknown))}")
        facts = facts | {"seconds": time.time()}
        row = [facts.get(name) for name in FACTS]
        for group, names in self.columns.items():
            if group in allocations:
                row += values(self.partition, group, allocations[group])
            else:
                row += [None] * len(names)
        self.rows.append(row)

    def close_part(self) -> None:
        """Write the rows since the last part as a part of their own, durably, and forget them."""
        if not self.rows:
            return
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(zip(*self.rows, strict=True), self.schema, strict=True)
        ]
        first, last = self.rows[0][0], self.rows[-1][0]
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        _write_part(table, self.folder / f"part-{first:09d}-{last:09d}.parquet")
        self.rows = []

    def resume(self, update: int) -> None:
        """Drop all rows beyond `update`, the one that training was restored to (0: none).

        Raises `LogError` if rows up to `update` are missing or damaged.
        """
        self.rows = []
        starts = set()
        for part, first, last in _parts(self.folder):
            # Of two that start alike, the shorter was about to replace the longer.
            if first > update or first in starts:
                remove(part)
            elif last > update:
                kept = pq.read_table(part).slice(0, update - first + 1)
                _write_part(kept, part.with_name(f"part-{first:09d}-{update:09d}.parquet"))
                remove(part)
            starts.add(first)
        _check_continuous(self.folder, update)


def fingerprint(schema: pa.Schema) -> str:
    """Return the checksum of what a log says besides its values: its columns, blocks and facts."""
    said = [*schema.names, *(schema.metadata[key].decode() for key in (b"blocks", b"about"))]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _write_part(table: pa.Table, path: Path) -> None:
    """Write a part as a whole or not at all, and then its checksum."""
    remove(path)  # with the checksum of an older part of the same rows
    with whole(path) as file:
        pq.write_table(table, file, **FORMAT)
    write_checksum(path)


def reached(folder: Path) -> tuple[int, str]:
    """Return the update up to which the log in `folder` is whole, and what is wrong after it.

    That is one line, or nothing if the log just ends there.
    """
    reach, start = 0, 0
    for part, first, last in _parts(folder):
        if first == start:  # about to be replaced by the one before
            continue
        if first != reach + 1:
            return reach, f"{part}: starts at update {first} instead of {reach + 1}"
        if not _is_intact(part, first, last):
            return reach, f"{part}: damaged"
        reach, start = last, first
    return reach, ""


def _is_intact(part: Path, first: int, last: int) -> bool:
    """Return whether a part matches its checksum; whether it can be read if it has none."""
    try:
        intact = is_intact(part)
        if intact is not None:
            return intact
        return bool(pq.read_table(part)["update"].to_pylist() == list(range(first, last + 1)))
    except PermissionError:
        raise
    except Exception:  # whatever damage makes pyarrow raise
        return False


def consolidate(folder: Path, target: Path, updates: int) -> None:
    """Write the parts in `folder` as one log of exactly the rows 1..`updates`.

    The parts must reach `EXTRA_UPDATES` further, whose gradients complete the last values. Raises
    `LogError` if rows are missing or damaged, or if there are none.
    """
    if updates < 1:
        raise LogError(f"{folder}: no update to write: a row takes the update after it as well")
    _check_continuous(folder, updates + EXTRA_UPDATES)
    tables = (pq.read_table(part) for part, _, _ in _parts(folder))
    with whole(target) as file:
        writer: Any = None
        for table in _in_own_rows(tables):
            writer = writer or pq.ParquetWriter(file, table.schema, **FORMAT)
            writer.write_table(table)
        writer.close()


def _in_own_rows(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of consecutive tables with the values of every lag in the row of their update.

    The last `EXTRA_UPDATES` rows only complete others.
    """
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        ready = sum(part.num_rows for part in waiting) - EXTRA_UPDATES
        if ready >= ROWS:
            joined = pa.concat_tables(waiting)
            yield _shifted(joined, ready)
            waiting = [joined.slice(ready)]
    joined = pa.concat_tables(waiting)
    if joined.num_rows > EXTRA_UPDATES:
        yield _shifted(joined, joined.num_rows - EXTRA_UPDATES)


def _shifted(table: pa.Table, rows: int) -> pa.Table:
    """Return the first rows of a table, with the columns of every lag moved up by it."""
    arrays = [
        column.slice(LAGS.get(name.split("/")[0], 0), rows)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=table.schema).combine_chunks()


def _parts(folder: Path) -> list[tuple[Path, int, int]]:
    """Return the parts with their first and last updates, in order."""
    parts = sorted(Path(folder).glob("part-*.parquet"))
    updates = (map(int, part.stem.split("-")[1:]) for part in parts)
    return [(part, first, last) for part, (first, last) in zip(parts, updates, strict=True)]


def _check_continuous(folder: Path, last_update: int) -> None:
    """Raise `LogError` unless the parts hold each of updates 1..`last_update` exactly once."""
    reach, flaw = reached(folder)
    if flaw or reach != last_update:
        end = f"{folder}: ends at update {reach} instead of {last_update}"
        raise LogError(flaw or (end if reach else f"{end}: is it the folder of another training?"))
