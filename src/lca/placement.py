"""Where a parameter belongs, read from the model: its layer, its component, its attention heads.

The modules say most of it. A layer is an item of a module list that holds an attention and more
than that; the kinds of modules tell norms and embeddings; the attention's own attributes, or its
configuration, tell the number of heads and with the shapes how many of them keys and values have.
Only what a projection is for has to be told by its name, which for a dozen ways of naming them is
in `PROJECTIONS` and `FEED_FORWARD`. What none of it tells is not guessed: a tensor stays whole, and
is named as in the model.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, cast

from torch import Tensor, nn

OTHER = "other"
"""The stack of what is placed nowhere."""


@dataclass(frozen=True)
class Rule:
    """Places the parameters whose name matches `pattern`, before anything else is looked at.

    Named groups `stack` and `layer` (from 0) of the pattern are used where present. Several
    `components` divide the rows evenly, as in `torch.nn.MultiheadAttention.in_proj_weight`.
    `heads` is the dimension that the attention heads divide, or None.
    """

    pattern: str
    components: tuple[str, ...]
    heads: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.components, str):
            raise TypeError(
                f"{self.pattern}: components are several names, as ('{self.components}',)"
            )


class Run(NamedTuple):
    """Neighbouring rows (or columns) of a tensor, of one component: those of some of its heads."""

    component: str
    size: int
    """Rows, a multiple of `held`."""
    heads: int = 1
    """Heads of the component in all."""
    first: int = 0
    """The first head here, from 0."""
    held: int = 1
    """Heads here."""

    @property
    def told_apart(self) -> bool:
        """Whether no two parameters of a layer should be of the component."""
        return self.component.removeprefix("cross_") in _ONE_EACH


class Placement(NamedTuple):
    """The place of one parameter, viewed as `(outer, sum of the runs' sizes, inner)`."""

    stack: str
    layer: int
    outer: int
    inner: int
    runs: tuple[Run, ...]


PROJECTIONS = {
    ("query",): "q_proj query q q_lin q_attn query_proj to_q wq Wq W_q w_q c_q q_linear "
    "q_proj_weight",
    ("key",): "k_proj key k k_lin key_proj to_k wk Wk W_k w_k c_k k_linear k_proj_weight",
    ("value",): "v_proj value v v_lin value_proj to_v wv Wv W_v w_v c_v v_linear v_proj_weight",
    ("out",): "out_proj o_proj out o out_lin to_out wo Wo W_o w_o c_proj dense proj projection "
    "linear_out output output_proj",
    ("query", "key", "value"): "in_proj_weight c_attn qkv qkv_proj Wqkv to_qkv query_key_value "
    "in_proj",
    ("key", "value"): "kv kv_proj to_kv Wkv",
}
"""What the projections of an attention are called in fairseq, PyTorch, Hugging Face's models, timm,
GPT-2 and its likes, and Llama's first code. Fused ones hold the components one after the other."""

FEED_FORWARD = {
    ("w1",): "fc1 linear1 lin1 c_fc wi wi_0 w1 w_1 gate_proj fc_in dense_h_to_4h intermediate ffn",
    ("w2",): "fc2 linear2 lin2 c_proj wo Wo w2 w_2 down_proj fc_out dense_4h_to_h output "
    "ffn_output",
    ("w3",): "wi_1 w3 w_3 up_proj",
    ("w1", "w3"): "gate_up_proj",
}
"""The same of the feed-forward network; w1 is the gate where it is gated, by w3."""

INTERLEAVED = (
    "BloomAttention",
    "DisentangledSelfAttention",
    "GPTNeoXAttention",
    "GPTNeoXJapaneseAttention",
    "MiniMaxLightningAttention",
    "PersimmonAttention",
)
"""Attentions whose fused rows are query, key and value of the first head, of the second, ..."""

IN_TURN = ("Phi3Attention", "Phi4MultimodalAttention")
"""Attentions whose fused rows are all queries, all keys, all values, whatever they are called."""

TWO_LAYOUTS = ("qkv_proj", "query_key_value")
"""Fused projections that some models lay out in the one way, some in the other, some in a third:
they stay one block, but in attentions listed above."""

UNKNOWN_LAYOUT = ("GPTBigCodeAttention",)
"""Attentions whose fused rows depend on the model's settings: they stay one block."""

HEADS = ["num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "num_q_heads", "heads"]
KEY_VALUE_HEADS = ["num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_kv_head", "kv_heads"]
HEAD_SIZES = [
    "head_dim",
    "attention_head_size",
    "key_value_proj_dim",
    "d_kv",
    "dim_head",
    "head_size",
]

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_ONE_EACH = {part for table in (PROJECTIONS, FEED_FORWARD) for parts in table for part in parts}
_EMBEDDINGS = re.compile(r"emb|^wte$|^wpe$|^shared$|^(cls|mask|dist|class)_token$|^conv\d$", re.I)
_POSITIONS = re.compile(r"pos|^wpe$|^rel_(?!att)|relative", re.I)
_NORM = re.compile(r"norm|^ln(_|\d|$)|_ln$", re.I)
_CROSS = re.compile(r"cross|encoder_attn|enc_?dec", re.I)
_OUTPUT = re.compile(
    r"(\w+_)?(heads?|classifier|predictions|predictor|score)|output\w*|cls|pooler|embed_out|"
    r"generator\w*|vocab_\w+|fc_out|\w+_outputs|(text|visual)_projection|logit_\w+|unembed\w*"
)


def place(model: nn.Module, rules: Iterable[Rule] = ()) -> list[Placement]:
    """Return the place of every trainable parameter, in the order of `named_parameters()`.

    `rules` come first. Raises `ValueError` where a rule's heads or components do not divide a
    tensor.
    """
    model = unwrapped(model)
    reader = _Reader(model)
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    parameters = trainable(model)
    by_rules = {name: reader.by_rules(name, p, compiled) for name, p in parameters.items()}
    read = {name: reader.place(name, parameters[name]) for name, at in by_rules.items() if not at}
    told_apart = reader.told_apart(read)
    return [at or told_apart[name] for name, at in by_rules.items()]


class _Reader:
    """What the modules of a model say about its parameters."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.matrices = [name for name, p in model.named_parameters() if p.ndim > 1]
        self.embedded = {
            id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
        }
        """The matrices of embeddings, with which what makes the output is tied."""
        self.attentions = {
            _root(name): name for name, module in self.modules.items() if _is_attention(module)
        }
        self.in_lists = [root for root in self.attentions if self._layer_around(root)]
        lists = {self._layer_around(root).rpartition(".")[0] for root in self.in_lists}
        # Two towers, such as of text and images, are told apart by their names.
        self.stacks = _unique_names(
            {
                name: (self._stack(name), name.rpartition(".")[0] or name, name)
                for name in sorted(lists)
            }
        )
        """Of every list of layers."""

    def place(self, name: str, parameter: Tensor) -> Placement:
        """Return where the modules place a parameter."""
        item = self._layer(name)
        where, _, number = item.rpartition(".")
        stack = self.stacks[where] if item else self._stack(name)
        layer = int(number) + 1 if item else 0
        if found := self._projection(name, parameter):
            return found._replace(stack=stack, layer=layer)
        component = self._in_layer(name) if item else self._outside_layers(name)
        if component is None:
            return _whole(name, parameter)._replace(stack=OTHER)
        return _whole(component, parameter)._replace(stack=stack, layer=layer)

    def told_apart(self, places: dict[str, Placement]) -> dict[str, Placement]:
        """Name projections after their modules where two would share a block.

        Such as those of two attentions in a layer. Norms, biases and embeddings may share one.
        """
        keys = {
            name: {(at.stack, at.layer, run.component) for run in at.runs if run.told_apart}
            for name, at in places.items()
        }
        often = Counter(key for found in keys.values() for key in found)
        found = {}
        for name, at in places.items():
            if any(often[key] > 1 for key in keys[name]):
                path = self._within_layer(name).rpartition(".")[0] or name
                runs = (run._replace(component=f"{run.component}:{path}") for run in at.runs)
                at = at._replace(runs=tuple(runs))
            found[name] = at
        return found

    def by_rules(
        self, name: str, parameter: Tensor, rules: list[tuple[re.Pattern[str], Rule]]
    ) -> Placement | None:
        """Return where the first rule that matches places a parameter; None without one.

        Raises `ValueError` if its shape is not divisible as the rule says.
        """
        matches = ((pattern.fullmatch(name), rule) for pattern, rule in rules)
        first = next(((match, rule) for match, rule in matches if match), None)
        if first is None:
            return None
        match, rule = first
        found, shape, parts = match.groupdict(), tuple(parameter.shape), len(rule.components)
        stack = found.get("stack") or "model"
        layer = int(found["layer"]) + 1 if found.get("layer") else 0
        if rule.heads is None and parts == 1:
            return _whole(rule.components[0], parameter)._replace(stack=stack, layer=layer)
        axis = rule.heads or 0
        names = HEADS
        if all(part.endswith(("key", "value")) for part in rule.components):
            names = [*KEY_VALUE_HEADS, *HEADS]
        heads = 1 if rule.heads is None else self._attribute(name, names) or 1
        if (axis and parts > 1) or axis >= len(shape) or shape[axis] % (parts * heads):
            raise ValueError(f"{name}: shape {shape} is not divisible into {heads} heads")
        runs = [Run(part, shape[axis] // parts, heads, 0, heads) for part in rule.components]
        return _divided(runs, parameter, axis)._replace(stack=stack, layer=layer)

    def _layer_around(self, root: str) -> str:
        """Return the innermost item of a list that holds this attention and other matrices."""
        items = [name for name in (root, *_around(root)) if self._is_item(name)]
        for item in items:
            inside = (name for name in self.matrices if name.startswith(f"{item}."))
            if any(not name.startswith(f"{root}.") for name in inside):
                return item
        return items[-1] if items else ""

    def _is_item(self, name: str) -> bool:
        where, _, number = name.rpartition(".")
        lists = nn.ModuleList | nn.Sequential
        return number.isdigit() and isinstance(self.modules[where], lists)

    def _layer(self, name: str) -> str:
        """Return the module that is the layer of a parameter or module; "" outside of layers."""
        return next((m for m in _around(name) if m.rpartition(".")[0] in self.stacks), "")

    def _within_layer(self, name: str) -> str:
        """Return a name as the layer calls it."""
        layer = self._layer(name)
        return name.removeprefix(f"{layer}.") if layer else name

    def _attention(self, name: str) -> str | None:
        """Return the root of the attention that a parameter is of."""
        return next((module for module in (*_around(name), "") if module in self.attentions), None)

    def _stack(self, name: str) -> str:
        """Return "encoder" or "decoder" as a name or the kind of a module says; else "model".

        What makes the output is called a decoder as well: by a head, or as a single linear map.
        """
        name = self._before_output(name)
        around = [(m, self.modules[m]) for m in (name, *_around(name), "") if m in self.modules]
        for called, module in around:
            stack = called.rpartition(".")[2]
            if stack in ("encoder", "decoder") and any(module.children()):
                return stack
        for _, module in around:
            if isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder):
                return type(module).__name__.removeprefix("Transformer").lower()
        return "model"

    def _before_output(self, name: str) -> str:
        """Return a name up to the part that says that it makes the output; all of it without one.

        What holds layers is not that, whatever it is called.
        """
        parts = name.split(".")
        for end, part in enumerate(parts):
            makes_output = ".".join(parts[: end + 1])
            holds_layers = any(root.startswith(f"{makes_output}.") for root in self.in_lists)
            if _OUTPUT.fullmatch(part) and not holds_layers:
                return ".".join(parts[:end])
        return name

    def _outside_layers(self, name: str) -> str | None:
        """Return the component of a parameter outside of layers that is no projection."""
        *path, last = name.split(".")
        module, called = self.modules[".".join(path)], (path or [last])[-1]
        items = [item for item in _around(name) if "." in item and self._is_item(item)]
        around = items[-1] if items else name
        is_tied = last == "bias" and id(getattr(module, "weight", None)) in self.embedded
        if is_tied or self._before_output(around) != around:
            return "output"
        if _is_norm(module, called):
            return "norms"
        if self._attention(name) is not None and last.endswith("bias"):
            return "biases"
        if any(map(_POSITIONS.search, (called, last))):
            return "positions"
        names = (*path[-2:], last)
        is_embedding = isinstance(module, nn.Embedding) or any(map(_EMBEDDINGS.search, names))
        return "embeddings" if is_embedding else None

    def _in_layer(self, name: str) -> str:
        """Return the component of a layer's parameter that is no projection."""
        *path, last = name.split(".")
        if _is_norm(self.modules[".".join(path)], path[-1]):
            return "norms"
        if last == "weight" and _POSITIONS.search(path[-1]):
            return "positions"
        return "biases" if last.endswith("bias") else self._within_layer(name)

    def _projection(self, name: str, parameter: Tensor) -> Placement | None:
        """Return the runs of a matrix of an attention or feed-forward network; None for others."""
        *path, last = name.split(".")
        owner = self.modules[".".join(path)]
        if parameter.ndim < 2 or isinstance(owner, nn.Embedding):
            return None
        called = path[-1] if last == "weight" and path else last
        around = path[-2] if len(path) > 1 else ""
        rows = _rows(owner)
        root = self._attention(name)
        if root is not None:
            parts = _components(PROJECTIONS, around if called.isdigit() else called)
            return self._of_attention(root, called, parts, parameter, rows) if parts else None
        if any("att" in part.lower() for part in self._within_layer(name).split(".")[:-1]):
            return None  # an attention of another kind
        parts = _components(FEED_FORWARD, around if called == "dense" else called)
        if not self._layer(name) and not self._has_both_maps(path):
            parts = ()  # what makes the output may be called as the second map
        parts = parts or self._in_sequence(path)
        if parts == ("w3",) and ("w1",) not in self._maps_beside(path):
            parts = ("w1",)
        if not parts or (len(parts) > 1 and parameter.ndim > 2):
            return None
        size = parameter.shape[rows] // len(parts)
        return _divided([Run(part, size) for part in parts], parameter, rows)

    def _in_sequence(self, path: list[str]) -> tuple[str, ...]:
        """Return which of the two linear maps of an `nn.Sequential` in a layer a module is."""
        sequence = ".".join(path[:-1])
        if not self._layer(sequence) or not isinstance(self.modules[sequence], nn.Sequential):
            return ()
        children = self.modules[sequence].named_children()
        maps = [name for name, module in children if isinstance(module, nn.Linear)]
        return (f"w{maps.index(path[-1]) + 1}",) if len(maps) == 2 and path[-1] in maps else ()

    def _has_both_maps(self, path: list[str]) -> bool:
        """Tell whether beside a module there are the maps of a feed-forward network."""
        return {("w1",), ("w2",)} <= self._maps_beside(path)

    def _maps_beside(self, path: list[str]) -> set[tuple[str, ...]]:
        """Return the components that by their names are in the same module."""
        beside = self.modules[".".join(path[:-1])].named_children()
        return {_components(FEED_FORWARD, child) for child, _ in beside}

    def _of_attention(
        self, root: str, called: str, parts: tuple[str, ...], parameter: Tensor, rows: int
    ) -> Placement:
        """Return the runs of an attention's projection: heads are rows, those of `out` columns."""
        attention = self.modules[self.attentions[root]]
        kind, is_fused = type(attention).__name__, len(parts) > 1
        if "query" in parts and is_fused and hasattr(attention, "q_attn"):
            parts = ("key", "value")  # GPT-2's attention to an encoder
        axis = 1 - rows if parts == ("out",) else rows
        size, prefix = parameter.shape[axis], "cross_" if self._is_cross(root) else ""
        heads = self._heads(self.attentions[root], parts, size)
        named = tuple(prefix + part for part in parts)
        if is_fused and (not heads or _is_of_unknown_layout(kind, called)):
            return _whole("_".join(named), parameter)
        if not heads:
            return _divided([Run(named[0], size)], parameter, axis)
        unit = size // sum(heads)
        if is_fused and kind in INTERLEAVED:
            order = [(head, part) for head in range(heads[0]) for part in named]
            runs = [Run(part, unit, heads[0], head, 1) for head, part in order]
        else:
            runs = [Run(part, n * unit, n, 0, n) for part, n in zip(named, heads, strict=True)]
        return _divided(runs, parameter, axis)

    def _heads(self, attention: str, parts: tuple[str, ...], size: int) -> list[int] | None:
        """Return how many heads each of `parts` has, which share `size` rows; None if unknown.

        The heads of queries and keys are of one size. Keys may have fewer of them (Ainslie et al.
        2023): as many as fit their matrix, or else as the attention or its configuration say.
        Values have as many as keys, of any size, and `out` takes those of all queries' heads.
        """
        sizes = self._sizes(attention)
        queries = self._attribute(f"{attention}.", HEADS)
        head_size = self._head_size(attention, queries, sizes)
        keys = self._attribute(f"{attention}.", KEY_VALUE_HEADS) or queries
        of_keys = size // 2 if parts == ("key", "value") else sizes.get("key")
        if head_size:
            queries = queries or sizes.get("query", 0) // head_size
            keys = of_keys // head_size if of_keys else keys
        if not queries or not keys:
            return None
        numbers = [queries if part in ("query", "out") else keys for part in parts]
        if parts == ("value",) or not head_size:
            return numbers if size % sum(numbers) == 0 else None
        if parts == ("out",):
            head_size = sizes["value"] // keys if "value" in sizes else size // queries
        return numbers if size == sum(numbers) * head_size else None

    def _sizes(self, attention: str) -> dict[str, int]:
        """Return the rows of an attention's own projections that are not fused, and the columns of
        `out`."""
        module = self.modules[attention]
        held = [
            (name, child, getattr(child, "weight", None)) for name, child in module.named_children()
        ]
        held += [(name, module, p) for name, p in module.named_parameters(recurse=False)]
        sizes = {}
        for name, owner, weight in held:
            parts = _components(PROJECTIONS, name)
            if len(parts) == 1 and isinstance(weight, Tensor) and weight.ndim == 2:
                rows = _rows(owner)
                sizes[parts[0]] = weight.shape[1 - rows if parts == ("out",) else rows]
        return sizes

    def _head_size(self, attention: str, queries: int | None, sizes: dict[str, int]) -> int | None:
        """Return the size of an attention's heads: as it says, or of its queries; where they are
        fused, of what `out` takes."""
        module = self.modules[attention]
        for size in (getattr(module, name, None) for name in HEAD_SIZES):
            if isinstance(size, int):
                return size
        size = sizes.get("query") or sizes.get("out")
        return size // queries if size and queries and size % queries == 0 else None

    def _attribute(self, name: str, names: Iterable[str]) -> int | None:
        """Return the first of these attributes of the innermost module around, or its `config`."""
        for around in (*_around(name), ""):
            module = self.modules[around]
            for source in (module, getattr(module, "config", None)):
                values = (getattr(source, attribute, None) for attribute in names)
                for value in values:
                    if isinstance(value, int) and value > 0:
                        return value
        return None

    def _is_cross(self, root: str) -> bool:
        """Tell whether an attention is to the encoder: by its name, or PyTorch's for a second."""
        layer = self._layer(root)
        if self._within_layer(root) == "multihead_attn":
            return any(a != root and a.startswith(f"{layer}.") for a in self.attentions)
        return bool(_CROSS.search(self._within_layer(root)))


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model within those of `torch.compile` and of data-parallel training."""
    while isinstance(model, _WRAPPERS) or hasattr(model, "_orig_mod"):
        model = cast(nn.Module, getattr(model, "_orig_mod", None) or model.module)
    return model


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable parameters by what the model, unwrapped, calls them."""
    return {name: p for name, p in unwrapped(model).named_parameters() if p.requires_grad}


def _components(table: dict[tuple[str, ...], str], name: str) -> tuple[str, ...]:
    """Return what a projection of this name is, by one of the tables; () if it is not there."""
    return next((parts for parts, names in table.items() if name in names.split()), ())


def _unique_names(names: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return, for each key, the first of its names that none of the others has in its place."""
    found: dict[str, str] = {}
    for number in range(max(map(len, names.values()), default=0)):
        often = Counter(choices[number] for key, choices in names.items() if key not in found)
        found |= {
            key: choices[number]
            for key, choices in names.items()
            if key not in found
            and often[choices[number]] == 1
            and choices[number] not in found.values()
        }
    return found


def _is_attention(module: nn.Module) -> bool:
    """Tell whether a module itself holds a matrix that makes queries."""
    weights = {name: getattr(child, "weight", None) for name, child in module.named_children()}
    weights |= dict(module.named_parameters(recurse=False))
    return type(module).__name__ in INTERLEAVED or any(
        "query" in _components(PROJECTIONS, name) and getattr(weight, "ndim", 0) == 2
        for name, weight in weights.items()
        if name != "in_proj"  # Mamba's, too, is called so
    )


def _rows(owner: nn.Module) -> int:
    """Return the dimension of a module's outputs: Hugging Face's Conv1D is a transposed Linear."""
    return 1 if type(owner).__name__ == "Conv1D" else 0


def _is_of_unknown_layout(kind: str, called: str) -> bool:
    """Tell whether nothing says how the fused projection of this name is laid out."""
    is_listed = kind in INTERLEAVED or kind in IN_TURN
    return kind in UNKNOWN_LAYOUT or (called in TWO_LAYOUTS and not is_listed)


def _root(attention: str) -> str:
    """Return the module that an attention is the heart of, as Bert's `attention.self`."""
    around, _, name = attention.rpartition(".")
    is_heart = name in ("self", "attention") or name.endswith("self_attn")
    return around if is_heart and "att" in around.rpartition(".")[2] else attention


def _is_norm(module: nn.Module, called: str) -> bool:
    return "norm" in type(module).__name__.lower() or bool(_NORM.search(called))


def _around(name: str) -> list[str]:
    """Return the names of the modules around a parameter or module, from the innermost one.

    The whole model, whose name is empty, is left out.
    """
    parts = name.split(".")[:-1]
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _whole(component: str, parameter: Tensor) -> Placement:
    """Return a tensor undivided, of no stack."""
    return Placement("", 0, 1, 1, (Run(component, parameter.numel()),))


def _divided(runs: list[Run], parameter: Tensor, axis: int) -> Placement:
    """Return a tensor divided along a dimension, of no stack."""
    shape = parameter.shape
    return Placement("", 0, prod(shape[:axis]), prod(shape[axis + 1 :]), tuple(runs))
