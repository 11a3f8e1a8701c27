import copy
import os
import platform
import re
import subprocess
from collections import defaultdict
from itertools import chain
from pathlib import Path

import pytest
import torch
import yaml
from fairseq import options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import build_model

from closer_look.jobs.job import InputError
from closer_look.training.fairseq_options import arguments, micro_batches
from lca.recorder import EXTRA_UPDATES
from scripts.training import train
from scripts.training.train import count_devices, locked, newest_checkpoint, state_folder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # from Hydra

CONFIG = Path(__file__).parents[2] / "config" / "config.yaml"
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


def built(objective, norm):
    """The model that fairseq builds of small settings."""
    found = parsed(objective, layers=4, embed_dim=16, ffn_dim=24, heads=2, norm={objective: norm})
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


def test_a_sentence_that_no_micro_batch_holds_is_left_out():
    for most, longest in ((2048, 1024), (512, 512)):
        words = arguments("mt", "en-de", PAPER, most, devices=1)
        assert {f"--max-{side}-positions={longest}" for side in ("source", "target")} < set(words)


@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_a_sample_that_no_micro_batch_holds_is_refused(objective):
    with pytest.raises(InputError, match="^training.tokens_per_sample: 512 do not fit .* of 256 t"):
        arguments(objective, "en", PAPER, 256, devices=1)


@pytest.mark.parametrize(("tokens", "most", "devices"), [(32768, 3000, 1), (100, 100, 3)])
def test_an_update_that_micro_batches_do_not_make_names_the_settings(tokens, most, devices):
    message = rf"^training.tokens_per_update: {tokens} is not divisible .*{most} tokens \(max_tok"
    with pytest.raises(InputError, match=message):
        micro_batches(tokens, most, devices)


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


def test_adam_is_what_trainings_were_before_there_was_a_choice():
    before = {key: value for key, value in PAPER.items() if key != "optimizer"}
    assert folder_of(settings=before) == folder_of()
    assert folder_of(settings=PAPER | {"optimizer": "sgd"}) != folder_of()


def test_data_seed_and_recipe_have_their_own_states(monkeypatch):
    found = {
        folder_of(),
        folder_of(data=CHECKSUMS | {"train.bin": "1e"}),
        folder_of(run="c/clm/en/base/2"),
    }
    monkeypatch.setattr(train, "RECIPE", train.RECIPE + 1)
    assert len({*found, folder_of()}) == 4


def test_the_state_does_not_depend_on_the_order_of_the_settings():
    assert folder_of(settings=dict(reversed(PAPER.items()))) == folder_of()
    assert folder_of().parent == Path("state")
    assert folder_of().name.startswith("c-clm-en-base-1-")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(train, "PATIENCE", 0.1)


@pytest.mark.usefixtures("impatient")
def test_a_model_is_trained_by_one_process_at_a_time(tmp_path):
    folder = tmp_path / "state" / "run"
    refused = pytest.raises(InputError, match=f"^{folder}: another process is training")
    with locked(folder), locked(tmp_path / "state" / "other"), refused, locked(folder):
        pass
    with locked(folder):
        pass


@pytest.mark.usefixtures("impatient")
def test_who_trains_a_model_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for holder in (f"process {os.getpid()}", "Slurm job 12"):
        refused = pytest.raises(InputError, match=rf"\({platform.node()}, {holder}\)$")
        with locked(tmp_path), refused, locked(tmp_path):
            pass
        monkeypatch.setenv("SLURM_JOB_ID", "12")


def test_a_process_that_is_about_to_die_is_waited_for(tmp_path):
    with locked(tmp_path) as lock:
        subprocess.Popen(["sleep", "0.5"], pass_fds=[lock])
    with locked(tmp_path):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_trainer_keeps_the_lock_of_its_dead_parent(tmp_path):
    with locked(tmp_path) as lock:
        trainer = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        with pytest.raises(InputError, match="another process"), locked(tmp_path):
            pass
    finally:
        trainer.kill()
        trainer.wait()
    with locked(tmp_path):
        pass


def save(path, updates):
    history, extra = [{"num_updates": updates}], {"previous_training_time": 36.0 * updates}
    state = {"optimizer_history": history, "extra_state": extra, "model": torch.ones(999)}
    torch.save(state, path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def test_without_checkpoints_the_last_is_where_the_first_will_be(tmp_path):
    assert newest_checkpoint(tmp_path / "none") == (tmp_path / "none" / "checkpoint_last.pt", 0, 0)


def test_the_newest_checkpoint_is_that_of_the_most_updates(tmp_path):
    last = save(tmp_path / "checkpoint_last.pt", 20)
    save(tmp_path / "checkpoint_1_9.pt", 9)
    assert newest_checkpoint(tmp_path) == (last, 20, 0.2)
    newer = save(tmp_path / "checkpoint_2_100.pt", 100)
    assert newest_checkpoint(tmp_path) == (newer, 100, 1.0)


def test_a_truncated_checkpoint_is_passed_over(tmp_path, capsys):
    last = save(tmp_path / "checkpoint_last.pt", 300)
    truncate(last)
    save(tmp_path / "checkpoint_1_90.pt", 90)
    good = save(tmp_path / "checkpoint_1_100.pt", 100)
    truncate(save(tmp_path / "checkpoint_1_200.pt", 200))
    assert newest_checkpoint(tmp_path).path == good
    assert f"{last}: cannot be read, is passed over" in capsys.readouterr().err


def test_with_nothing_but_broken_checkpoints_training_starts_anew(tmp_path):
    last = save(tmp_path / "checkpoint_last.pt", 300)
    truncate(last)
    (tmp_path / "checkpoint_1_100.pt").touch()
    assert newest_checkpoint(tmp_path) == (last, 0, 0)


def test_fp16_is_refused_on_the_cpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match="^training.precision: fp16 needs a CUDA device"):
        count_devices("fp16")
    assert (count_devices("fp32"), count_devices("bf16")) == (0, 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert count_devices("fp16") == 2
