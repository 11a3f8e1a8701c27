import copy

import pytest
import yaml

from closer_look.config import (
    AS_IN_FAIRSEQ,
    ConfigError,
    Run,
    main_runs,
    pair,
    probed_throughout,
    runs,
    settings,
    varied,
)
from closer_look.config_check import check
from shipped_config import PAPER, ROOT, SCHEMA, merged


def test_the_papers_runs():
    names = {run.name for run in runs(PAPER)}
    lms = {f"europarl/{o}/{lang}" for o in ("mlm", "clm") for lang in ("en", "de", "fi", "et")}
    pairs = ("en-de", "de-en", "en-fi", "fi-en", "en-et", "et-en")
    mts = {f"europarl/mt/{pair}" for pair in pairs}
    assert names == {f"{name}/base/1" for name in lms | mts | {"wmt18/mt/en-de"}}


def test_the_papers_hyperparameters():
    """Table 2, against the text of the paper."""
    training = PAPER["training"]
    expected = dict(layers=12, heads=8, embed_dim=512, ffn_dim=2048, precision="fp16")
    expected |= dict(total_updates=125000, warmup_updates=8000, lr=0.0005, adam_betas=[0.9, 0.98])
    expected |= dict(adam_eps=1e-6, weight_decay=0.01, clip_norm=0.0, dropout=0.1)
    expected |= dict(attention_dropout=0.0, activation="relu", tokens_per_sample=512)
    expected |= dict(max_sentence_pieces=1024)
    assert {key: training[key] for key in expected} == expected
    assert training["tokens_per_update"] == 16 * 2048


def test_a_language_adds_its_runs_and_changes_no_other():
    config = copy.deepcopy(PAPER)
    config["runs"][0]["pairs"].append("en-fr")
    check(config, SCHEMA)
    added = set(runs(config)) - set(runs(PAPER))
    names = {"mlm/fr", "clm/fr", "mt/en-fr", "mt/fr-en"}
    assert {run.name for run in added} == {f"europarl/{name}/base/1" for name in names}
    for run in runs(PAPER):
        assert pair(config, run.corpus, run.languages) == pair(PAPER, run.corpus, run.languages)


def test_the_pair_of_a_language():
    assert pair(PAPER, "europarl", "en") == "en-de"
    assert pair(PAPER, "europarl", "fi") == "en-fi"
    assert pair(PAPER, "europarl", "et-en") == "en-et"
    config = copy.deepcopy(PAPER)
    config["runs"][0]["monolingual"] = {"en": "en-et"}
    check(config, SCHEMA)
    assert pair(config, "europarl", "en") == "en-et"
    with pytest.raises(KeyError, match="sv"):
        pair(PAPER, "europarl", "sv")


def test_language_models_can_be_of_some_languages_only():
    config = copy.deepcopy(PAPER)
    config["runs"][0]["languages"] = ["fi"]
    config["runs"][0]["objectives"] = ["clm"]
    config["runs"][0]["directions"] = "forward"
    assert [run.name for run in runs(config)] == ["europarl/clm/fi/base/1", "wmt18/mt/en-de/base/1"]


def test_variants_and_seeds_multiply_the_runs():
    config = merged(PAPER, {"variants": {"slow": {"lr": 1e-4}}, "seeds": [1, 2]})
    check(config, SCHEMA)
    assert len(runs(config)) == 4 * len(runs(PAPER))
    assert settings(config, "slow") == PAPER["training"] | {"lr": 1e-4}
    assert main_runs(config)[2] == Run("europarl", "mt", "en-de", "base", 1)


def shipped(name):
    return merged(PAPER, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))


def test_a_norm_in_one_word_is_that_of_all_objectives():
    config = merged(PAPER, {"variants": {"pre": {"norm": "pre"}}})
    check(config, SCHEMA)
    assert settings(config, "pre")["norm"] == {"mlm": "pre", "clm": "pre", "mt": "pre"}
    assert settings(config, "base")["norm"] == {"mlm": "post", "clm": "pre", "mt": "post"}


def test_a_variant_has_the_models_of_the_first_that_is_the_same():
    variants = {"base": {}, "pre": {"norm": "pre"}, "post": {"norm": "post"}}
    config = copy.deepcopy(PAPER) | {"variants": variants}
    trained = {variant: [run.variant for run in main_runs(config, variant)] for variant in variants}
    assert trained == {
        "base": ["base", "base", "base"],
        "pre": ["pre", "base", "pre"],
        "post": ["base", "post", "base"],
    }
    assert set(main_runs(config, "pre")) | set(main_runs(config, "post")) <= set(runs(config))


def test_the_main_runs_are_of_the_base_in_whatever_order():
    config = PAPER | {"variants": {"slow": {"lr": 1e-4}, "base": {}}}
    check(config, SCHEMA)
    assert {run.variant for run in main_runs(config)} == {"base"}
    assert [run.variant for run in runs(config)][:2] == ["base", "slow"]
    with pytest.raises(ConfigError, match=r"^variants.slow: overrides nothing"):
        check(PAPER | {"variants": {"slow": {}, "base": {}}}, SCHEMA)


def test_a_control_trains_only_what_it_changes():
    names = [run.name.removesuffix("/1") for run in runs(shipped("controls"))]
    assert names == [
        *(f"europarl/mlm/en/{variant}" for variant in ("base", "pre", "sentences", "equal")),
        *(f"europarl/clm/en/{variant}" for variant in ("base", "post", "equal")),
        *(f"europarl/mt/en-de/{variant}" for variant in ("base", "pre", "equal")),
    ]
    only = {"variants": {"x": {"positions": {"mlm": "learned", "clm": "learned", "mt": "learned"}}}}
    names = [run.name for run in runs(merged(shipped("controls"), only))]
    assert not [name for name in names if "/mlm/" in name and "/x/" in name]


def test_equal_models_have_all_the_same_that_variants_change():
    config = shipped("controls")
    equal = [varied(config, run) for run in main_runs(config, "equal")]
    assert equal[0]["sample_break"] == "eos" and equal == [equal[0]] * 3
    base = [varied(config, run) for run in main_runs(config)]
    assert [settings["norm"] for settings in base] == ["post", "pre", "post"]
    assert [settings["sample_break"] for settings in base] == ["complete", "none", "eos"]


def test_the_defaults_of_fairseq_are_written_out_in_the_paper_configuration():
    assert {key: PAPER["training"][key] for key in AS_IN_FAIRSEQ} == AS_IN_FAIRSEQ


def test_the_runs_of_which_every_update_is_probed():
    assert probed_throughout(PAPER) == []
    truth = shipped("ground-truth")
    assert probed_throughout(truth) == runs(truth) == main_runs(truth)
    probed = {"probe": {"every": 1, "tokens": 4096, "loss_tokens": 4096}}
    config = merged(PAPER, {"variants": {"probed": probed}})
    found = probed_throughout(config)
    assert {run.variant for run in found} == {"probed"} and len(found) == len(runs(PAPER))


def test_settings_of_the_other_optimizer_are_left_out():
    config = shipped("optimizer")
    adam, sgd = settings(config, "base"), settings(config, "sgd")
    assert adam == PAPER["training"]
    assert adam.keys() - sgd.keys() == {"adam_betas", "adam_eps"}
    assert sgd.keys() - adam.keys() == {"momentum"}


def test_no_noise_is_no_setting():
    config = merged(PAPER, {"training": {"noise": 0.0}, "variants": {"x": {"noise": 0.1}}})
    check(config, SCHEMA)
    assert settings(config, "base") == PAPER["training"]
    assert settings(config, "x") == PAPER["training"] | {"noise": 0.1}


def test_pairs_without_english_and_languages_without_translation():
    config = shipped("languages")
    added = [run for run in runs(config) if run not in runs(PAPER)]
    names = [run.name.removesuffix("/base/1") for run in added]
    assert names == [
        *("europarl/mlm/fr", "europarl/clm/fr", "europarl/mt/en-fr", "europarl/mt/fr-en"),
        *("europarl/mt/de-fi", "europarl/mt/fi-de", "europarl/mlm/sv", "europarl/clm/sv"),
    ]
    assert set(runs(PAPER)) < set(runs(config))
    pairs = ["en-fr", "en-fr", "en-fr", "en-fr", "de-fi", "de-fi", "en-sv", "en-sv"]
    assert [pair(config, run.corpus, run.languages) for run in added] == pairs
    for run in runs(PAPER):
        assert pair(config, run.corpus, run.languages) == pair(PAPER, run.corpus, run.languages)
