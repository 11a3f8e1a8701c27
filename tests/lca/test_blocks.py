import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import toys
from cells import placed
from lca.blocks import Rule, partition

COMPONENTS = {"key", "query", "value", "out", "w1", "w2", "norms", "biases"}
CROSS = {"cross_key", "cross_query", "cross_value", "cross_out"}


@pytest.mark.parametrize("objective", toys.OBJECTIVES)
@pytest.mark.parametrize("tied", [False, True])
def test_every_element_is_in_exactly_one_block(objective, tied):
    options = {"share_all_embeddings": tied} if objective == "mt" else {}
    if objective == "clm":
        options = {"share_decoder_input_output_embed": tied}
    model = toys.model(objective, **options)
    part = partition(model)
    cells = torch.cat(placed(part))
    assert (cells >= 0).all()
    assert part.numel == cells.numel() == sum(p.numel() for p in model.parameters())
    counts = torch.bincount(cells, minlength=len(part.owners))
    elements = torch.zeros(len(part.blocks), dtype=torch.int64)
    elements.index_add_(0, torch.tensor(part.owners), counts)
    assert elements.tolist() == [row["elements"] for row in part.table()]


@pytest.mark.parametrize("objective", toys.OBJECTIVES)
def test_blocks_are_named_by_stack_layer_and_component(objective):
    blocks = partition(toys.model(objective)).blocks
    assert not [block for block in blocks if block.stack == "other"]
    stacks = {"mlm": {"encoder"}, "clm": {"decoder"}, "mt": {"encoder", "decoder"}}[objective]
    assert {block.stack for block in blocks} == stacks
    for stack in stacks:
        for layer in range(1, toys.LAYERS + 1):
            found = {b.component for b in blocks if (b.stack, b.layer) == (stack, layer)}
            is_cross = objective == "mt" and stack == "decoder"
            assert found == (COMPONENTS | CROSS if is_cross else COMPONENTS)
    heads = {block.component: block.heads for block in blocks}
    assert heads["key"] == heads["query"] == heads["value"] == heads["out"] == toys.HEADS
    assert heads["w1"] == heads["embeddings"] == 1


def test_heads_are_rows_of_key_query_value_and_columns_of_out():
    model = toys.model("clm")
    part = partition(model)
    names = [name for name, _ in model.named_parameters()]
    head_dim = toys.DIM // toys.HEADS
    for projection, dimension in [("k", 0), ("q", 0), ("v", 0), ("out", 1)]:
        index = names.index(f"decoder.layers.1.self_attn.{projection}_proj.weight")
        cells = placed(part)[index].view(toys.DIM, toys.DIM)
        cells = cells - cells.min()
        if dimension:
            cells = cells.T
        assert cells.tolist() == [[row // head_dim] * toys.DIM for row in range(toys.DIM)]


def test_tied_embeddings_count_once():
    model = toys.model("mt", share_all_embeddings=True)
    part = partition(model)
    found = [block.name for block in part.blocks if block.component in ("embeddings", "output")]
    assert found == ["encoder.0.embeddings"]


def test_a_parameter_without_a_rule_is_a_block_of_its_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Parameter(torch.ones(3, 2))

    part = partition(Net())
    assert [(block.name, block.heads) for block in part.blocks] == [("other.0.gate", 1)]
    assert part.numel == 6


def test_frozen_parameters_are_left_out():
    model = toys.model("clm")
    model.decoder.embed_tokens.weight.requires_grad = False
    assert "embeddings" not in {block.component for block in partition(model).blocks}


def test_pytorch_layers_are_placed_too():
    model = nn.ModuleDict(
        {"encoder": nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 1)}
    )
    model["decoder"] = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12), 1)
    part = partition(model)
    names = {block.name for block in part.blocks}
    assert {"encoder.1.key", "decoder.1.cross_query", "decoder.1.w2"} <= names
    assert not [name for name in names if name.startswith("other")]
    cells = placed(part)[0].view(3, 2, 4 * 8)
    assert cells.unique().numel() == 6
    assert (cells == cells[:, :, :1]).all()


def test_heads_that_do_not_divide_a_tensor_are_refused():
    module = nn.Linear(4, 5)
    module.num_heads = 2
    model = nn.ModuleDict({"attention": module})
    with pytest.raises(ValueError, match=r"attention.weight: shape \(5, 4\).*2 heads"):
        partition(model, [Rule(r"attention\.weight", ("key",), heads=0)])


@given(
    rows=st.integers(1, 9),
    heads=st.integers(1, 4),
    inner=st.integers(1, 9),
    dimension=st.sampled_from([None, 0, 1]),
    limit=st.integers(1, 200),
)
def test_tiles_cover_a_slice_in_order_with_the_same_cells(rows, heads, inner, dimension, limit):
    module = nn.Linear(heads * inner, heads * rows, bias=False)
    module.num_heads = heads
    part = partition(nn.ModuleDict({"a": module}), [Rule(r"a\.weight", ("x",), dimension)])
    tiles = tuple(tile for piece in part.slices for tile in piece.tiles(limit))
    starts = [tile.start for tile in tiles]
    assert starts == [sum(tile.numel for tile in tiles[:n]) for n in range(len(tiles))]
    split = type(part)(part.blocks, tiles, part.sizes)
    assert torch.equal(placed(split)[0], placed(part)[0])
    assert all(tile.numel <= limit or tile.outer == 1 or tile.heads > 1 for tile in tiles)


class Attention(nn.Module):
    """As nanoGPT's: query, key and value in one."""

    def __init__(self):
        super().__init__()
        self.n_head = 4
        self.c_attn, self.c_proj = nn.Linear(16, 48), nn.Linear(16, 16)


class Grouped(nn.Module):
    """Four heads of queries share two of keys and values, as only the shapes say."""

    def __init__(self):
        super().__init__()
        self.num_heads = 4
        self.q_proj, self.k_proj = nn.Linear(16, 16), nn.Linear(16, 8)
        self.v_proj, self.o_proj = nn.Linear(16, 8), nn.Linear(16, 16)


class Layer(nn.Module):
    def __init__(self, **attentions):
        super().__init__()
        for name, attention in attentions.items():
            self.add_module(name, attention)
        self.ln_1 = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.gain = nn.Parameter(torch.tensor(1.0))


def stacked(**attentions):
    """Return a model of one layer with such attentions."""
    return nn.ModuleDict({"wte": nn.Embedding(9, 16), "h": nn.ModuleList([Layer(**attentions)])})


def heads(model):
    return {block.name: block.heads for block in partition(model).blocks}


def test_a_layer_is_read_from_its_modules():
    expected = {"query": 4, "key": 4, "value": 4, "out": 4} | dict.fromkeys(
        ("w1", "w2", "norms", "biases", "gain"), 1
    )
    expected = {f"model.1.{component}": number for component, number in expected.items()}
    assert heads(stacked(attn=Attention())) == expected | {"model.0.embeddings": 1}
    grouped = expected | {"model.1.key": 2, "model.1.value": 2}
    assert heads(stacked(self_attn=Grouped())) == grouped | {"model.0.embeddings": 1}


def test_the_names_of_a_model_do_not_depend_on_what_wraps_it():
    model = stacked(attn=Attention())
    assert heads(nn.DataParallel(model)) == heads(torch.compile(model)) == heads(model)


@pytest.mark.parametrize("name", ["qkv_proj", "query_key_value"])
def test_a_matrix_that_may_be_laid_out_in_two_ways_is_not_divided(name):
    attention = Attention()
    attention.add_module(name, attention.c_attn)
    del attention.c_attn
    found = heads(stacked(attn=attention))
    assert found["model.1.query_key_value"] == 1
    assert found["model.1.out"] == 4
    assert "model.1.query" not in found


def test_two_attentions_of_a_layer_are_told_apart():
    found = heads(stacked(time=nn.MultiheadAttention(16, 4), space=nn.MultiheadAttention(16, 2)))
    assert found["model.1.query:time"] == 4
    assert found["model.1.query:space"] == 2
    assert found["model.1.out:space.out_proj"] == 2


def test_layers_outside_of_a_list_do_not_share_the_blocks_of_their_matrices():
    found = heads(
        nn.ModuleDict({"first": Layer(attn=Attention()), "then": Layer(attn=Attention())})
    )
    assert found["model.0.key:first.attn.c_attn"] == found["model.0.key:then.attn.c_attn"] == 4


def test_what_holds_the_layers_does_not_make_the_output_whatever_it_is_called():
    found = heads(
        nn.ModuleDict({"classifier": stacked(attn=Attention()), "head": nn.Linear(16, 3)})
    )
    assert found["model.0.embeddings"] == found["model.0.output"] == 1


def test_two_towers_are_told_apart():
    towers = {name: nn.ModuleDict({"encoder": stacked(attn=Attention())}) for name in ("a", "b")}
    names = heads(nn.ModuleDict(towers))
    assert {"a.encoder.1.key", "b.encoder.1.key"} <= names.keys()


def number_of_heads(**matrices):
    """Return the heads of an attention of 4 with such matrices, (rows, columns), by component."""
    attention = nn.Module()
    attention.num_heads = 4
    for name, (rows, columns) in matrices.items():
        attention.add_module(name, nn.Linear(columns, rows, bias=False))
    return {name.split(".")[-1]: number for name, number in heads(attention).items()}


class Two(nn.Module):
    """Two lists of layers in one module, as the way in and the way out."""

    def __init__(self):
        super().__init__()
        for name in ("way_in", "way_out"):
            self.add_module(name, nn.ModuleList([Layer(attn=Attention()) for _ in range(2)]))


def test_lists_of_layers_share_no_block_wherever_they_are():
    layers = nn.ModuleList([Layer(attn=Attention())])
    for model, lists in (
        (Two(), ("way_in", "way_out")),
        (nn.ModuleDict({"net": Two()}), ("net.way_in", "net.way_out")),
        (nn.ModuleDict({"stages": nn.ModuleList([layers, copy.deepcopy(layers)])}), None),
    ):
        blocks = partition(model).table()
        matrices = [p.numel() for p in model.parameters() if p.ndim > 1]
        large = [b for b in blocks if b["component"] in ("query", "out", "w1", "w2")]
        assert {b["elements"] for b in large} == {16 * 16, 16 * 32}
        assert sum(b["elements"] for b in blocks if b["elements"] >= 256) == sum(matrices)
        stacks = {b["stack"] for b in large}
        assert stacks == set(lists or ("stages.0", "stages.1"))


def test_a_layer_may_be_a_list_of_its_parts():
    """As in x-transformers: norms, then attention or feed-forward network."""
    parts = [
        nn.ModuleList([nn.ModuleList([nn.LayerNorm(16)]), part])
        for part in (Attention(), nn.Linear(16, 16), Attention(), nn.Linear(16, 16))
    ]
    found = heads(nn.ModuleDict({"layers": nn.ModuleList(parts)}))
    assert found["model.1.query"] == found["model.3.query"] == 4
    assert {"model.2.norms", "model.2.1.weight", "model.4.1.weight"} <= found.keys()


@pytest.mark.parametrize("called", ["output", "fc_out", "lm_head"])
def test_what_makes_the_output_is_no_feed_forward_network(called):
    model = stacked(attn=Attention())
    model[called] = nn.Linear(16, 9, bias=False)
    assert heads(model)["model.0.output"] == 1


def test_two_blocks_of_one_name_are_refused():
    attentions = [nn.Module(), nn.Module()]
    for number, attention in enumerate(attentions):
        attention.num_heads = 2 * number + 2
        attention.projection = nn.Linear(16, 16, bias=False)
    rule = Rule(r"\d\.projection\.weight", ("query",), heads=0)
    with pytest.raises(ValueError, match="model.0.query: two blocks would be called so"):
        partition(nn.ModuleList(attentions), [rule])
    with pytest.raises(TypeError, match="several names"):
        Rule("x", "query")


def test_a_module_called_as_a_projection_need_not_be_one():
    model = Grouped()
    model.add_module("dense", nn.ModuleDict({"weight": nn.Linear(16, 16)}))
    assert heads(model)["model.0.key"] == 2


@pytest.mark.parametrize("called", ["W_{}", "w_{}", "W{}", "w{}"])
def test_projections_are_told_by_the_letters_of_textbooks_too(called):
    found = number_of_heads(**{called.format(letter): (16, 16) for letter in "qkvo"})
    assert found == {"query": 4, "key": 4, "value": 4, "out": 4}


def test_a_rule_for_keys_counts_the_heads_of_keys():
    model = Grouped()
    model.num_key_value_heads = 2
    rules = [Rule(rf"{name[0]}_proj\.weight", (name,), heads=0) for name in ("query", "key")]
    found = {block.component: block.heads for block in partition(model, rules).blocks}
    assert (found["query"], found["key"]) == (4, 2)


def test_values_have_as_many_heads_as_keys_whatever_their_size():
    """As in DeepSeek's attention, whose keys have the positions in addition."""
    sizes = dict(q_proj=(32, 16), k_proj=(16, 16), v_proj=(8, 16), o_proj=(16, 16))
    assert number_of_heads(**sizes) == {"query": 4, "key": 2, "value": 2, "out": 4}
    sizes = dict(q_proj=(32, 16), k_proj=(32, 16), v_proj=(48, 16), o_proj=(16, 48))
    assert set(number_of_heads(**sizes).values()) == {4}


def test_keys_and_values_in_one_matrix_have_heads_as_large_as_queries():
    found = number_of_heads(q_proj=(16, 16), to_kv=(8, 16), o_proj=(16, 16))
    assert found == {"query": 4, "key": 1, "value": 1, "out": 4}


def test_what_does_not_fit_the_size_of_a_head_is_not_divided():
    """Keys of one head beside queries of four; columns of `out` that no head makes."""
    found = number_of_heads(c_attn=(24, 16), c_proj=(16, 16))
    assert found == {"query_key_value": 1, "out": 4}
    found = number_of_heads(q_proj=(16, 16), k_proj=(16, 16), v_proj=(16, 16), o_proj=(16, 32))
    assert found == {"query": 4, "key": 4, "value": 4, "out": 1}


def test_queries_that_hold_a_gate_do_not_change_the_heads_of_keys():
    """As in Qwen3-Next, where the size of a head is said."""
    attention = Grouped()
    attention.head_dim = 4
    attention.q_proj = nn.Linear(16, 32)
    found = heads(attention)
    assert {name.split(".")[-1]: found[name] for name in found if "bias" not in name} == {
        **{"query": 1, "key": 2, "value": 2, "out": 4}
    }


def test_an_attention_without_a_number_of_heads_is_one_block_for_each_matrix():
    model = Grouped()
    del model.num_heads
    assert {name: number for name, number in heads(model).items() if "bias" not in name} == {
        f"model.0.{component}": 1 for component in ("query", "key", "value", "out")
    }


@pytest.mark.parametrize("sizes", [{}, {"kdim": 12, "vdim": 20}])
def test_the_heads_of_pytorchs_attention_are_those_it_computes(sizes):
    torch.manual_seed(0)
    model = nn.MultiheadAttention(16, 4, bias=False, **sizes)
    part = partition(model)
    query, key = torch.randn(5, 16), torch.randn(6, model.kdim)
    value = torch.randn(6, model.vdim)
    _, expected = model(query, key, value, average_attn_weights=False)
    names = [block.component for block in part.blocks]
    for component in ("query", "key"):
        for head in range(4):
            changed = copy.deepcopy(model)
            with torch.no_grad():
                for p, cells in zip(changed.parameters(), placed(part), strict=True):
                    p.view(-1)[cells == 4 * names.index(component) + head] = 0
            _, found = changed(query, key, value, average_attn_weights=False)
            differ = (found != expected).flatten(1).any(dim=1)
            assert differ.tolist() == [number == head for number in range(4)]
