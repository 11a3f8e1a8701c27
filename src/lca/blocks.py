"""Which parameter element belongs to which block: stack, layer, component and attention head.

A model's trainable parameters are partitioned into blocks: every element belongs to exactly one,
a tied tensor counts once, and a tensor that no rule places is a block of its own, never dropped.
Only then do the blocks' loss changes add up to the whole (paper, section 2.3).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod

from torch import nn


@dataclass(frozen=True)
class Block:
    """A named set of parameters: `stack` "encoder" or "decoder", `layer` from 1 (0: outside the
    layers), `component` such as "key" or "w1", and the number of attention `heads` (1: none)."""

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
    """A run of consecutive elements of one parameter, all of one block.

    `parameter` is its index, `start` the first element. Viewed as `(outer, heads, inner)`, index 1
    of an element is its head: heads are runs of rows of the key, query and value matrices
    (outer = 1), and of columns of the output projection. The first head counts into `cell`.
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
class Rule:
    """Places the parameters whose name matches `pattern`.

    Named groups `stack` and `layer` (from 0) of the pattern are used where present. Several
    `components` divide the rows evenly, as in `torch.nn.MultiheadAttention.in_proj_weight`.
    `heads` is the dimension that the attention heads divide, or None.
    """

    pattern: str
    components: tuple[str, ...]
    heads: int | None = None


_LAYER = r"(?:.*\.)?(?P<stack>encoder|decoder)\.(?:.*\.)?layers\.(?P<layer>\d+)\."
_STACK = r"(?:.*\.)?(?P<stack>encoder|decoder)\.(?:.*\.)?"

TRANSFORMER_RULES = (
    Rule(_LAYER + r"self_attn\.k_proj\.weight", ("key",), heads=0),
    Rule(_LAYER + r"self_attn\.q_proj\.weight", ("query",), heads=0),
    Rule(_LAYER + r"self_attn\.v_proj\.weight", ("value",), heads=0),
    Rule(_LAYER + r"self_attn\.out_proj\.weight", ("out",), heads=1),
    Rule(_LAYER + r"self_attn\.in_proj_weight", ("query", "key", "value"), heads=0),
    Rule(_LAYER + r"(encoder_attn|multihead_attn)\.k_proj\.weight", ("cross_key",), heads=0),
    Rule(_LAYER + r"(encoder_attn|multihead_attn)\.q_proj\.weight", ("cross_query",), heads=0),
    Rule(_LAYER + r"(encoder_attn|multihead_attn)\.v_proj\.weight", ("cross_value",), heads=0),
    Rule(_LAYER + r"(encoder_attn|multihead_attn)\.out_proj\.weight", ("cross_out",), heads=1),
    Rule(
        _LAYER + r"(encoder_attn|multihead_attn)\.in_proj_weight",
        ("cross_query", "cross_key", "cross_value"),
        heads=0,
    ),
    Rule(_LAYER + r"(fc1|linear1)\.weight", ("w1",)),
    Rule(_LAYER + r"(fc2|linear2)\.weight", ("w2",)),
    Rule(_LAYER + r".*norm\d?\.(weight|bias)", ("norms",)),
    Rule(_LAYER + r".*bias", ("biases",)),
    Rule(_STACK + r"(lm_head|output_projection)\..*", ("output",)),
    Rule(_STACK + r"embed_tokens\.weight", ("embeddings",)),
    Rule(_STACK + r"embed_positions\.weight", ("positions",)),
    Rule(_STACK + r".*norm.*\.(weight|bias)", ("norms",)),
)
"""Rules for fairseq's RoBERTa, Transformer LM and encoder-decoder Transformer, and for PyTorch's
own Transformer layers, tried in this order. Components starting with `cross_` are of the
encoder-decoder attention, which the paper does not plot."""


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

    @property
    def numel(self) -> int:
        """Number of trainable elements."""
        return sum(self.sizes)

    @cached_property
    def owners(self) -> list[int]:
        """The block of every cell."""
        return [number for number, block in enumerate(self.blocks) for _ in range(block.heads)]

    def table(self) -> list[dict]:
        """Return a row per block: name, stack, layer, component, heads, elements."""
        elements = [0] * len(self.blocks)
        for piece in self.slices:
            elements[self.owners[piece.cell]] += piece.numel
        return [
            {"name": block.name, **asdict(block), "elements": size}
            for block, size in zip(self.blocks, elements, strict=True)
        ]


def partition(model: nn.Module, rules: Iterable[Rule] = TRANSFORMER_RULES) -> Partition:
    """Divide the trainable parameters of `model` into blocks, in the order of `parameters()`.

    Raises `ValueError` where a rule's heads or components do not divide a tensor.
    """
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    heads = _heads_by_module(model)
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    places = [list(_place(name, p.shape, compiled, heads)) for name, p in trainable]

    first_cells: dict[Block, int] = {}
    cells = 0
    for block in (block for blocks in places for block, _ in blocks):
        if block not in first_cells:
            first_cells[block] = cells
            cells += block.heads

    slices = []
    for index, pieces in enumerate(places):
        start = 0
        for block, (outer, inner) in pieces:
            slices.append(Slice(index, start, first_cells[block], outer, block.heads, inner))
            start += slices[-1].numel
    return Partition(tuple(first_cells), tuple(slices), tuple(p.numel() for _, p in trainable))


def _heads_by_module(model: nn.Module) -> dict[str, int]:
    """Return the number of heads of every attention module, by the module's name."""
    modules = model.named_modules()
    return {name: module.num_heads for name, module in modules if hasattr(module, "num_heads")}


def _place(
    name: str,
    shape: Sequence[int],
    rules: list[tuple[re.Pattern, Rule]],
    heads_by_module: dict[str, int],
) -> Iterable[tuple[Block, tuple[int, int]]]:
    """Yield the blocks of one parameter with the (outer, inner) sizes of their views."""
    matches = ((pattern.fullmatch(name), rule) for pattern, rule in rules)
    match, rule = next(((match, rule) for match, rule in matches if match), (None, None))
    if rule is None:
        yield Block("other", 0, name), (1, prod(shape))
        return
    found = match.groupdict()
    stack = found.get("stack") or "model"
    layer = int(found["layer"]) + 1 if found.get("layer") else 0
    heads = 1 if rule.heads is None else _heads_of(name, heads_by_module)
    parts = len(rule.components)
    rows = shape[0] // parts
    sizes = (rows, *shape[1:])
    if shape[0] % parts or (rule.heads is not None and sizes[rule.heads] % heads):
        raise ValueError(f"{name}: shape {tuple(shape)} is not divisible into {heads} heads")
    outer = rows if rule.heads == 1 else 1
    for component in rule.components:
        yield Block(stack, layer, component, heads), (outer, prod(sizes) // (outer * heads))


def _heads_of(name: str, heads_by_module: dict[str, int]) -> int:
    """Return the number of heads of the innermost attention module that holds the parameter."""
    holders = [module for module in heads_by_module if name.startswith(f"{module}.")]
    return heads_by_module[max(holders, key=len)] if holders else 1
