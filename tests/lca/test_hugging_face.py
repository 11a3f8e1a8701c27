"""The blocks of Hugging Face's models, against what the models themselves compute."""

import pytest
import torch

import hugging_face
import lca
from cells import placed
from hugging_face import DIM, HEADS, LAYERS
from lca.blocks import partition

ATTENTION = {"key", "query", "value", "out"}
CROSS = {f"cross_{component}" for component in ATTENTION}
OUTSIDE = {"embeddings", "positions", "norms", "output"}
GATED = {"gated t5", "llama", "qwen2", "qwen3", "mistral", "phi3"}
GROUPED = {"llama", "qwen2", "qwen3", "mistral", "phi3"}


@pytest.mark.parametrize("name", hugging_face.MODELS)
def test_every_parameter_has_a_place_in_a_layer_or_around_them(name):
    model = hugging_face.model(name)
    part = partition(model)
    cells = torch.cat(placed(part))
    assert (cells >= 0).all()
    assert cells.numel() == sum(p.numel() for p in model.parameters())
    assert sum(row["elements"] for row in part.table()) == cells.numel()
    assert {block.component for block in part.blocks if block.layer == 0} <= OUTSIDE
    expected = ATTENTION | {"w1", "w2", "norms"} | ({"w3"} if name in GATED else set())
    for stack in {block.stack for block in part.blocks if block.layer}:
        for layer in range(1, LAYERS + 1):
            here = {
                b.component: b.heads for b in part.blocks if (b.stack, b.layer) == (stack, layer)
            }
            crosses = CROSS if "t5" in name and stack == "decoder" else set()
            assert here.keys() - {"biases", "positions"} == expected | crosses
            keys = 2 if name in GROUPED else HEADS
            assert (here["query"], here["key"], here["value"], here["out"]) == (
                *(HEADS, keys, keys, HEADS),
            )
    assert len({block.name for block in part.blocks}) == len(part.blocks)


@pytest.mark.parametrize("name", ["roberta-head", "electra", "modernbert"])
def test_what_makes_the_output_is_told_by_its_name_or_its_matrix(name):
    """Which may be tied with that of the embeddings, and is called a decoder by some."""
    names = {block.name for block in partition(hugging_face.UNLIKE_OTHERS[name]()).blocks}
    assert "model.0.output" in names
    assert not [name for name in names if name.startswith(("other", "decoder"))]


@pytest.mark.parametrize(
    ("name", "parameter", "expected"),
    [
        ("fnet", "fnet.encoder.layer.0.output.dense.bias", {}),
        ("xlnet", "transformer.layer.0.rel_attn.q", {}),
        ("led", "led.encoder.layers.0.self_attn.output.weight", {"encoder.1.out": HEADS}),
        ("led", "led.encoder.layers.0.fc2.weight", {"encoder.1.w2": 1}),
    ],
)
def test_what_is_not_known_is_not_taken_for_something_else(name, parameter, expected):
    """By a name that means another thing elsewhere, such as `output`."""
    model = hugging_face.UNLIKE_OTHERS[name]()
    part = partition(model)
    index = [name for name, _ in model.named_parameters()].index(parameter)
    found = [part.blocks[part.owners[s.cell]] for s in part.slices if s.parameter == index]
    expected = expected or {f"other.0.{parameter}": 1}
    assert {block.name: block.heads for block in found} == expected


def zeroed(model, part, component, head):
    """Set the elements of a head of the last layer to zero; return what undoes it."""
    number, cell = None, 0
    for block in part.blocks:
        if (block.layer, block.component) == (LAYERS, component):
            number = cell + head  # the last one: of a translation model, the decoder's
        cell += block.heads
    parameters = [p for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in parameters]
    changed = 0
    with torch.no_grad():
        for p, cells in zip(parameters, placed(part), strict=True):
            p.view(-1)[cells == number] = 0
            changed += int((cells == number).sum())
    assert changed

    def restore():
        with torch.no_grad():
            for p, old in zip(parameters, before, strict=True):
                p.copy_(old)

    return restore


def out_of(model, part, component):
    """Return the module that holds the last layer's output projection."""
    numbers = [
        piece.parameter
        for piece in part.slices
        if (part.blocks[part.owners[piece.cell]].layer) == LAYERS
        and part.blocks[part.owners[piece.cell]].component == component
    ]
    parameters = [p for p in model.parameters() if p.requires_grad]
    (module,) = (
        m for m in model.modules() if getattr(m, "weight", None) is parameters[numbers[-1]]
    )
    return module


def around(module, run):
    """Return the input and output of a module in a run of the model."""
    seen = []
    hook = module.register_forward_hook(lambda _, given, made: seen.extend((given[0], made)))
    with torch.no_grad():
        run()
    hook.remove()
    return seen


@pytest.mark.parametrize(
    ("name", "cross"),
    [*((name, "") for name in hugging_face.MODELS), ("t5", "cross_"), ("gated t5", "cross_")],
)
def test_heads_are_those_that_the_model_computes(name, cross):
    """Without a head's query, key or value, what changes is its part of what `out` is given."""
    model, inputs = hugging_face.model(name), hugging_face.inputs(name)
    part = partition(model)
    module = out_of(model, part, f"{cross}out")
    given, made = around(module, lambda: model(**inputs))
    heads_of = {b.component: b.heads for b in part.blocks if b.layer == LAYERS}
    for component in ("query", "key", "value"):
        heads = heads_of[cross + component]
        for head in range(heads):
            restore = zeroed(model, part, cross + component, head)
            now, _ = around(module, lambda: model(**inputs))
            changed = (now != given).flatten(end_dim=-2).any(dim=0).view(heads, -1)
            assert changed[head].all(), (component, head)
            assert not changed[torch.arange(heads) != head].any(), (component, head)
            restore()
    for head in range(HEADS):
        restore = zeroed(model, part, f"{cross}out", head)
        _, now = around(module, lambda: model(**inputs))
        restore()
        silent = given.clone()
        silent.view(*given.shape[:-1], HEADS, -1)[..., head, :] = 0
        torch.testing.assert_close(now, module(silent))


def test_columns_of_a_matrix_that_holds_several_components_are_one_slice():
    """A slice for each row and component would take as long as the update itself."""
    model = hugging_face.model("gpt2")
    names = [name for name, _ in model.named_parameters()]
    index = names.index("transformer.h.1.attn.c_attn.weight")
    part = partition(model)
    (piece,) = (piece for piece in part.slices if piece.parameter == index)
    assert (piece.outer, piece.heads, piece.inner) == (DIM, 3 * HEADS, DIM // HEADS)
    cells = placed(part)[index].view(DIM, 3 * DIM) - piece.cell
    assert (cells == torch.arange(3 * HEADS).repeat_interleave(DIM // HEADS)).all()


def test_a_head_is_allocated_the_terms_of_its_columns():
    """GPT-2's matrix of queries, keys and values, cut by hand."""
    model = hugging_face.model("gpt2")
    optimizer = lca.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    optimizer.attach(model)
    tokens = hugging_face.inputs("gpt2")["input_ids"]
    model(input_ids=tokens, labels=tokens).loss.backward()
    weight = model.transformer.h[1].attn.c_attn.weight
    before = weight.detach().clone()
    optimizer.step()
    terms = (weight.grad.double() * (weight.detach() - before)).view(DIM, 3, HEADS, -1)
    expected = terms.sum(dim=(0, 3))
    part = optimizer.partition
    names = [part.blocks[owner].name for owner in part.owners]
    for index, component in enumerate(("query", "key", "value")):
        first = names.index(f"model.2.{component}")
        found = optimizer.allocations["own_batch"][first : first + HEADS]
        torch.testing.assert_close(found[:, 0], expected[index], rtol=1e-4, atol=1e-8)
        assert (found[:, 2:].sum(dim=1) <= DIM * DIM / HEADS).all()
    blocks = lca.per_block(optimizer.allocations["own_batch"], part)
    assert blocks[[b.name for b in part.blocks].index("model.2.key"), 0] == pytest.approx(
        expected[1].sum().item(), rel=1e-4
    )
