"""Which parameter element belongs to which block: stack, layer, component and attention head.

A model's trainable parameters are partitioned into blocks: every element belongs to exactly one,
a tied tensor counts once, and a tensor that nothing places is a block of its own, never dropped.
Only then do the blocks' loss changes add up to the whole (paper, section 2.3).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from torch import nn

from .placement import Placement, Rule, Run, place, trainable


@dataclass(frozen=True)
class Block:
    """A named set of parameters: `stack` "encoder", "decoder" or, if there is but one, "model",
    `layer` from 1 (0: outside the layers), `component` such as "key" or "w1", and the number of
    attention `heads` (1: none)."""

    stack: str
    layer: int
    component: str
    heads: int = 1

    @property
    def name(self) -> str:
        """The block's name in logs, such as `decoder.3.key`."""
        return f"{self.stack}.{self.layer}.{self.component}"


@dataclass(frozen=True)
class Slice:
    """A run of consecutive elements of one parameter.

    `parameter` is its index, `start` the first element. Viewed as `(outer, heads, inner)`, index 1
    of an element is its head: heads are runs of rows of the key, query and value matrices
    (outer = 1), and of columns of the output projection. The first head counts into `cell`, the
    next into the next; where query, key and value share a matrix, those are of several blocks.
    """

    parameter: int
    start: int
    cell: int
    outer: int
    heads: int
    inner: int

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.outer * self.heads * self.inner

    def tiles(self, limit: int) -> Iterator["Slice"]:
        """Yield slices of at most about `limit` elements that cover this one in order."""
        if self.numel <= limit:
            yield self
        elif self.outer > 1:
            row = self.heads * self.inner
            rows = max(1, limit // row)
            for first in range(0, self.outer, rows):
                outer = min(rows, self.outer - first)
                yield replace(self, start=self.start + first * row, outer=outer)
        elif self.heads > 1:
            for head in range(self.heads):
                start, cell = self.start + head * self.inner, self.cell + head
                yield from replace(self, start=start, cell=cell, heads=1).tiles(limit)
        else:
            for first in range(0, self.inner, limit):
                inner = min(limit, self.inner - first)
                yield replace(self, start=self.start + first, inner=inner)


@dataclass(frozen=True)
class Partition:
    """All trainable parameters, divided into blocks.

    `slices` are in the order of the parameters and cover every element exactly once. A cell is one
    head of one block; a block's cells follow each other, in the order of the blocks.
    """

    blocks: tuple[Block, ...]
    slices: tuple[Slice, ...]
    sizes: tuple[int, ...]
    """Number of elements of every parameter, in their order."""
    names: tuple[str, ...] = ()
    """What the model calls them."""

    @property
    def numel(self) -> int:
        """Number of trainable elements."""
        return sum(self.sizes)

    @cached_property
    def owners(self) -> list[int]:
        """The block of every cell."""
        return [number for number, block in enumerate(self.blocks) for _ in range(block.heads)]

    def table(self) -> list[dict[str, str | int]]:
        """Return a row per block: name, stack, layer, component, heads, elements."""
        elements = [0] * len(self.blocks)
        for piece in self.slices:
            for cell in range(piece.cell, piece.cell + piece.heads):
                elements[self.owners[cell]] += piece.outer * piece.inner
        return [
            {"name": block.name, **asdict(block), "elements": size}
            for block, size in zip(self.blocks, elements, strict=True)
        ]


def partition(model: nn.Module, rules: Iterable[Rule] = ()) -> Partition:
    """Divide the trainable parameters of `model` into blocks, in the order of `parameters()`.

    `placement` says which block a parameter belongs to; `rules` of yours come before it. Raises
    `ValueError` where a rule's heads or components do not divide a tensor, or where two blocks with
    different heads would have one name.
    """
    places = place(model, rules)
    first_cells: dict[Block, int] = {}
    cells = 0
    for block in (_block(at, run) for at in places for run in at.runs):
        if block not in first_cells:
            first_cells[block] = cells
            cells += block.heads
    slices = [piece for index, at in enumerate(places) for piece in _slices(index, at, first_cells)]
    _refuse_namesakes(first_cells)
    parameters = trainable(model)
    sizes = tuple(p.numel() for p in parameters.values())
    return Partition(tuple(first_cells), tuple(slices), sizes, tuple(parameters))


def _refuse_namesakes(blocks: Iterable[Block]) -> None:
    """Raise `ValueError` if two blocks, which then differ in their heads, have one name."""
    names = Counter(block.name for block in blocks)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"{twice[0]}: two blocks would be called so; tell them apart by a rule")


def _block(at: Placement, run: Run) -> Block:
    return Block(at.stack, at.layer, run.component, run.heads)


def _slices(parameter: int, at: Placement, first_cells: dict[Block, int]) -> Iterator[Slice]:
    """Yield the slices of one parameter in order.

    Runs of columns whose heads are alike are one slice if their cells follow each other too:
    otherwise, each row would have slices of its own.
    """
    heads = [  # (first cell, number of heads, elements of a head and row)
        (first_cells[_block(at, run)] + run.first, run.held, run.size // run.held * at.inner)
        for run in at.runs
    ]
    cells = [cell + head for cell, count, _ in heads for head in range(count)]
    widths = {width for _, _, width in heads}
    if at.outer > 1 and len(widths) == 1 and cells == list(range(cells[0], cells[0] + len(cells))):
        heads = [(cells[0], len(cells), widths.pop())]
    start = 0
    for outer in [at.outer] if len(heads) == 1 else [1] * at.outer:
        for cell, count, width in heads:
            yield Slice(parameter, start, cell, outer, count, width)
            start += outer * count * width
