import copy
import json
import re
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path

import pytest
import torch
import yaml
from fairseq import options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import build_model

import toys
from closer_look.config import AS_IN_FAIRSEQ, of_objective
from closer_look.jobs.job import InputError
from closer_look.training.fairseq_options import arguments
from closer_look.training.fixed_text import check_fixed_text
from closer_look.training.micro_batches import check_max_tokens, micro_batches
from lca.blocks import partition
from lca.recorder import EXTRA_UPDATES
from scripts.analysis import table2
from scripts.training import train
from scripts.training.train import count_devices, state_folder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # from Hydra

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "config.yaml"
KEPT = ROOT / "results/reference/laptop/runs"
BY_RECIPE_4 = {KEPT / f"libreoffice/{name}/en/base/1/run.json" for name in ("clm", "mlm")}
PAPER = yaml.safe_load(CONFIG.read_text())["training"]
LANGUAGES = {"mlm": "en", "clm": "en", "mt": "en-de"}
CHECKSUMS = {"train.bin": "1f", "dict.txt": "2e"}


def parsed(objective, **changes):
    """fairseq-train's own view of the arguments."""
    words = arguments(objective, LANGUAGES[objective], PAPER | changes, 2048, devices=1)
    words = ["data", f"--user-dir={train.PLUGIN}", "--lca-log=log", *words]
    parser = options.get_training_parser()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, words))


@pytest.fixture(scope="module", params=LANGUAGES)
def run(request):
    return request.param, parsed(request.param)


def test_table_2_for_every_objective(run):
    _, found = run
    assert found.optimizer._name == "lca_adam"
    assert eval(found.optimizer.adam_betas) == (0.9, 0.98)
    assert (found.optimizer.adam_eps, found.optimizer.weight_decay) == (1e-6, 0.01)
    assert found.lr_scheduler._name == "polynomial_decay"
    assert found.lr_scheduler.warmup_updates == 8000
    assert found.lr_scheduler.total_num_update == 125000
    assert found.lr_scheduler.end_learning_rate == 0
    assert (found.optimization.lr, found.optimization.clip_norm) == ([0.0005], 0.0)
    assert (found.optimization.update_freq, found.dataset.max_tokens) == ([16], 2048)
    assert found.optimization.max_update == 125000 + EXTRA_UPDATES
    assert found.common.fp16 and not found.common.cpu
    model = found.model
    assert (model.dropout, model.attention_dropout, model.activation_fn) == (0.1, 0.0, "relu")
    assert getattr(model, "activation_dropout", 0) == 0


def test_the_models_of_table_2(run):
    objective, found = run
    stacks = {"mlm": ["encoder"], "clm": ["decoder"], "mt": ["encoder", "decoder"]}[objective]
    for stack in stacks:
        sizes = [
            getattr(found.model, f"{stack}_{name}")
            for name in ("layers", "embed_dim", "ffn_embed_dim", "attention_heads")
        ]
        assert sizes == [6 if objective == "mt" else 12, 512, 2048, 8]


def test_the_tasks(run):
    objective, found = run
    tasks = {"mlm": "masked_lm", "clm": "language_modeling", "mt": "translation"}
    assert found.task._name == tasks[objective]
    assert found.criterion._name == ("masked_lm" if objective == "mlm" else "cross_entropy")
    assert not getattr(found.criterion, "sentence_avg", False)
    if objective == "mt":
        assert (found.task.source_lang, found.task.target_lang) == ("en", "de")
    else:
        assert found.task.tokens_per_sample == 512
    if objective == "mlm":
        task = found.task
        assert (task.mask_prob, task.leave_unmasked_prob, task.random_token_prob) == (
            0.15,
            0.1,
            0.1,
        )


def built(objective, norm, **changes):
    """The model that fairseq builds of small settings."""
    sizes = dict(layers=4, embed_dim=16, ffn_dim=24, heads=2)
    found = parsed(objective, norm={objective: norm}, **sizes, **changes)
    names = ("source_dictionary", "target_dictionary", "dictionary")
    return build_model(found.model, type("Task", (), dict.fromkeys(names, Dictionary())))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("objective", LANGUAGES)
def test_the_layers_that_fairseq_builds(objective, norm):
    stacks, modules = defaultdict(list), dict(built(objective, norm).named_modules())
    for name, module in modules.items():
        if hasattr(module, "self_attn"):
            stacks["encoder" if "encoder" in name else "decoder"].append(module)
    names = {"mlm": ["encoder"], "clm": ["decoder"], "mt": ["encoder", "decoder"]}[objective]
    assert {name: len(layers) for name, layers in stacks.items()} == dict.fromkeys(
        names, 4 // len(names)
    )
    for layer in chain.from_iterable(stacks.values()):
        assert layer.self_attn.num_heads == 2
        assert layer.fc1.weight.shape == (24, 16)
        assert layer.normalize_before == (norm == "pre")
    finals = [name for name in modules if re.fullmatch(r".*(encoder|decoder)\.layer_norm", name)]
    assert len(finals) == (len(names) if norm == "pre" else 0)


@pytest.mark.parametrize("objective", ["mlm", "clm", "mt"])
def test_the_embeddings_are_as_wide_as_the_layers(objective):
    shapes = {name: tuple(p.shape) for name, p in built(objective, "post").named_parameters()}
    tables = [shape for name, shape in shapes.items() if "embed_tokens" in name]
    assert tables and all(width == 16 for _, width in tables)
    assert not [name for name in shapes if "project_" in name]


EQUAL = yaml.safe_load((CONFIG.parent / "controls.yaml").read_text())["variants"]["equal"]


def looked_at(model, objective):
    """What a model is in terms of Table 2, by its modules alone."""
    coder = model.encoder.sentence_encoder if objective == "mlm" else model.decoder
    head = model.encoder.lm_head if objective == "mlm" else model.decoder.output_projection
    positions = type(coder.embed_positions).__name__
    return {
        "tie_output": "yes" if head.weight is coder.embed_tokens.weight else "no",
        "positions": positions.removesuffix("PositionalEmbedding").lower(),
        "embedding_norm": "yes" if coder.layernorm_embedding is not None else "no",
        "scale_embeddings": "yes" if coder.embed_scale != 1 else "no",
        "norm after the last layer": "yes" if coder.layer_norm is not None else "no",
        "norm": "pre" if coder.layers[0].normalize_before else "post",
        "output head": "dense + norm + matrix + bias" if hasattr(head, "dense") else "matrix",
    }


@pytest.mark.parametrize("objective", LANGUAGES)
@pytest.mark.parametrize("changes", [{}, EQUAL, EQUAL | {"embedding_norm": False}])
def test_what_differs_by_objective_is_built_placed_and_in_table_2(objective, changes):
    norm = changes.get("norm", PAPER["norm"][objective])
    changes = {key: value for key, value in changes.items() if key != "norm"}
    model = built(objective, norm, **changes)
    settings = PAPER | {"embed_dim": 16, "norm": {objective: norm}} | changes
    words = arguments(objective, LANGUAGES[objective], settings, 2048, devices=1)
    found, said = (
        looked_at(model, objective),
        table2.built(objective, table2.parse(" ".join(words))),
    )
    assert found.items() <= said.items()
    for key in AS_IN_FAIRSEQ.keys() & found.keys():
        value = settings[key]
        value = value[objective] if isinstance(value, dict) else value
        assert found[key] == {True: "yes", False: "no"}.get(value, value)
    blocks = partition(model).blocks
    assert not [block for block in blocks if block.stack == "other"]
    stacks = 2 if objective == "mt" else 1
    components = Counter(block.component for block in blocks)
    assert components["embeddings"] == stacks  # a tied matrix once
    assert components["positions"] == (stacks if found["positions"] == "learned" else 0)
    assert components["output"] == (0 if found["tie_output"] == "yes" and objective != "mlm" else 1)


@pytest.mark.parametrize("objective", LANGUAGES)
def test_the_initial_values_are_those_of_table_2(objective):
    options = {"arch": "roberta", "encoder-embed-dim": 16, "decoder-embed-dim": 16}
    said = table2.built(objective, options)
    parameters = dict(toys.model(objective, vocabulary=2000).named_parameters())
    normals = {"initial embeddings": "embed_tokens.weight"}
    uniforms = {}
    for name, end in (("initial attention", "q_proj.weight"), ("initial w1, w2", "fc1.weight")):
        (normals if said[name].startswith("normal") else uniforms)[name] = end
    for name, end in normals.items():
        values = torch.cat([p.flatten() for key, p in parameters.items() if key.endswith(end)])
        assert values.std().item() == pytest.approx(float(said[name].split()[1]), rel=0.1)
        assert values.abs().max() > 2 * values.std()
    for end in uniforms.values():
        values = torch.cat([p.flatten() for key, p in parameters.items() if key.endswith(end)])
        assert values.abs().max() < 1.8 * values.std()  # sqrt(3) of a uniform distribution


@pytest.mark.parametrize("objective", LANGUAGES)
def test_a_tied_matrix_counts_once(objective):
    tied, untied = (
        partition(built(objective, "pre", tie_output=is_tied)).numel for is_tied in (True, False)
    )
    assert untied - tied == 16 * len(Dictionary())


def test_the_defaults_are_fairseqs_and_leave_no_word():
    for objective, languages in LANGUAGES.items():
        without = {key: value for key, value in PAPER.items() if key not in AS_IN_FAIRSEQ}
        words = [
            arguments(objective, languages, settings, 2048, devices=1)
            for settings in (PAPER, without, of_objective(PAPER, objective))
        ]
        assert words[0] == words[1] == words[2]


def test_checkpoints_are_by_updates_alone(run):
    checkpoint = run[1].checkpoint
    assert (checkpoint.save_interval_updates, checkpoint.keep_interval_updates) == (1000, 2)
    assert checkpoint.no_epoch_checkpoints
    assert run[1].dataset.disable_validation


def test_sgd_and_its_momentum():
    found = parsed("clm", optimizer="sgd", momentum=0.9)
    assert (found.optimizer._name, found.optimizer.momentum) == ("lca_sgd", 0.9)
    assert found.optimizer.weight_decay == PAPER["weight_decay"]


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_the_precision(precision):
    words = arguments("clm", "en", PAPER | {"precision": precision}, 2048, devices=1)
    assert {"fp16", "bf16"} & {word.strip("-") for word in words} == {precision} - {"fp32"}


def test_without_devices_the_cpu_is_named():
    settings = PAPER | {"precision": "fp32"}
    assert "--cpu" in arguments("clm", "en", settings, 2048, devices=0)
    assert "--cpu" not in arguments("clm", "en", settings, 2048, devices=1)


@pytest.mark.parametrize(
    ("tokens", "most", "devices", "expected"),
    [
        (32768, 2048, 0, (2048, 16)),
        (32768, 2048, 1, (2048, 16)),
        (32768, 2048, 4, (2048, 4)),
        (32768, 100_000, 1, (32768, 1)),
        (32768, 100_000, 2, (16384, 1)),
        (1000, 300, 1, (250, 4)),
    ],
)
def test_micro_batches_make_exactly_one_update(tokens, most, devices, expected):
    size, number = micro_batches(tokens, most, devices)
    assert (size, number) == expected
    assert size <= most
    assert size * number * max(devices, 1) == tokens


def test_the_longest_sentence_does_not_depend_on_the_card():
    for most in (1024, 2048, 100_000):
        words = arguments("mt", "en-de", PAPER, most, devices=1)
        assert {f"--max-{side}-positions=1024" for side in ("source", "target")} < set(words)


@pytest.mark.parametrize(
    ("objective", "key", "size"),
    [
        ("mlm", "tokens_per_sample", 512),
        ("clm", "tokens_per_sample", 512),
        ("mt", "max_sentence_pieces", 1024),
    ],
)
@pytest.mark.parametrize(("most", "devices"), [(256, 1), (2048, 128)])
def test_what_no_micro_batch_holds_is_refused(objective, key, size, most, devices):
    with pytest.raises(InputError) as error:
        arguments(objective, LANGUAGES[objective], PAPER, most, devices)
    assert str(error.value) == (
        f"training.{key}: {size} do not fit a micro-batch of 256 tokens: raise "
        f"`max_tokens` of the rule `train` (in the profile) to {size}, or give it fewer devices: "
        "what is trained must not depend on them"
    )


@pytest.mark.parametrize(("tokens", "most", "devices"), [(32768, 3000, 1), (100, 100, 3)])
def test_an_update_that_micro_batches_do_not_make_names_the_settings(tokens, most, devices):
    message = rf"^training.tokens_per_update: {tokens} is not divisible .*{most} tokens \(max_tok"
    with pytest.raises(InputError, match=message):
        micro_batches(tokens, most, devices)


@pytest.mark.parametrize("value", [0, -1, "abc", "8GB", 2048.5, None])
def test_max_tokens_that_are_no_number_are_refused(value):
    with pytest.raises(InputError) as error:
        check_max_tokens("clm", PAPER, value, None)
    assert str(error.value) == (
        f"max_tokens of the rule `train`: {value!r} is no number of tokens of at least 1: give "
        "one by `--set-resources train:max_tokens=` or in the profile"
    )


def test_max_tokens_that_hold_no_sample_are_refused_whatever_the_devices():
    for devices in (None, 1):
        with pytest.raises(InputError, match="^training.tokens_per_sample: 512 do not fit "):
            check_max_tokens("clm", PAPER, 10, devices)
        check_max_tokens("clm", PAPER, 512, devices)
    check_max_tokens("clm", PAPER, 3000, None)  # may be divisible on some number of them
    with pytest.raises(InputError, match="^training.tokens_per_update: 32768 is not divisible"):
        check_max_tokens("clm", PAPER, 3000, 1)
    with pytest.raises(InputError, match="^training.max_sentence_pieces: 1024 do not fit "):
        check_max_tokens("mt", PAPER, 2048, 64)


PARTS = {"train.en-de.de": {"tokens": 9_000}, "train.en-de.en": {"tokens": 10_000}}
PARTS |= {"valid.en-de.en": {"tokens": 1_000_000}}


@pytest.mark.parametrize(
    ("key", "size"), [("trapezoid", "tokens"), ("probe", "tokens"), ("probe", "loss_tokens")]
)
def test_a_loss_on_far_more_text_than_there_is_is_refused(key, size):
    def settings(tokens, every=1):
        return PAPER | {key: PAPER[key] | {size: tokens, "every": every}}

    check_fixed_text(PAPER, {"train": {"tokens": 1}})
    check_fixed_text(settings(100_000), PARTS)
    check_fixed_text(settings(100_001, every=0), PARTS)
    with pytest.raises(InputError) as error:
        check_fixed_text(settings(100_001), PARTS)
    assert str(error.value) == (
        f"training.{key}.{size}: 100001 are more than 10 times the 10000 tokens of the training "
        "text"
    )


def recipe(**changes):
    return {"run": "c/clm/en/base/1", "settings": PAPER, "data": CHECKSUMS} | changes


def folder_of(**changes):
    found = recipe(**changes)
    return state_folder(Path("state"), found["run"], found)


def changed(value):
    return [*value, 0] if isinstance(value, list) else f"{value}1"


@pytest.mark.parametrize("key", PAPER)
def test_every_setting_that_shapes_the_model_has_its_own_state(key):
    settings = copy.deepcopy(PAPER)
    settings[key] = changed(settings[key])
    assert (folder_of(settings=settings) == folder_of()) == (key == "checkpoint_every")


@pytest.mark.parametrize("key", ["optimizer", "max_sentence_pieces"])
def test_the_default_is_what_trainings_were_before_there_was_a_choice(key):
    before = {name: value for name, value in PAPER.items() if name != key}
    assert folder_of(settings=before) == folder_of()
    assert folder_of(settings=PAPER | {key: "sgd"}) != folder_of()


@pytest.mark.parametrize("objective", LANGUAGES)
def test_what_fairseq_does_by_default_is_what_trainings_were_before_there_was_a_choice(objective):
    before = {key: value for key, value in PAPER.items() if key not in AS_IN_FAIRSEQ}
    assert of_objective(PAPER, objective) == before
    others = PAPER | {"tie_output": {"mlm": False, "clm": True, "mt": True}}
    assert folder_of(settings=of_objective(others, objective)) != folder_of(settings=before)
    only = PAPER | {"positions": PAPER["positions"] | {"clm": "learned"}}
    is_same = folder_of(settings=of_objective(only, objective)) == folder_of(settings=before)
    assert is_same == (objective != "clm")


@pytest.mark.parametrize("objective", LANGUAGES)
def test_an_objective_that_is_added_trains_no_other_again(objective):
    more = PAPER | {"norm": PAPER["norm"] | {"added": "pre"}}
    assert of_objective(more, objective) == of_objective(PAPER, objective)
    assert of_objective(more, "added")["norm"]["added"] == "pre"


def test_data_seed_and_recipe_have_their_own_states(monkeypatch):
    found = {
        folder_of(),
        folder_of(data=CHECKSUMS | {"train.bin": "1e"}),
        folder_of(run="c/clm/en/base/2"),
    }
    monkeypatch.setattr(train, "RECIPE", train.RECIPE + 1)
    assert len({*found, folder_of()}) == 4


@pytest.mark.parametrize(
    "manifest",
    sorted({*KEPT.rglob("run.json")} - BY_RECIPE_4),
    ids=lambda path: str(path.parent.relative_to(KEPT)),
)
def test_a_kept_run_would_find_its_state_again(manifest):
    kept = json.loads(manifest.read_text())
    shaping = {key: kept[key] for key in ("run", "settings", "data")}
    assert str(state_folder(Path("results/state"), kept["run"], shaping)) == kept["state"]


def test_the_state_does_not_depend_on_the_order_of_the_settings():
    assert folder_of(settings=dict(reversed(PAPER.items()))) == folder_of()
    assert folder_of().parent == Path("state")
    assert folder_of().name.startswith("c-clm-en-base-1-")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_refused_on_the_cpu(monkeypatch, precision):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match=f"^training.precision: {precision} needs a CUDA device"):
        count_devices(precision)
    assert count_devices("fp32") == 0
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert count_devices(precision) == 2
