"""Mistakes in the configuration, each of which is one line, and what is none."""

import copy
import re

import pytest
import yaml

from closer_look.config import ConfigError, Run, runs
from closer_look.config_check import check, doubts, normalised
from closer_look.vocabulary import OBJECTIVES
from shipped_config import PAPER, ROOT, SCHEMA, merged


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_is_accepted(path):
    check(merged(PAPER, yaml.safe_load(path.read_text())), SCHEMA)


def test_what_fairseqs_masked_model_cannot_be_is_refused_where_one_is_trained():
    without = copy.deepcopy(PAPER) | {"main_runs": dict.fromkeys(OBJECTIVES)}
    for entry in without["runs"]:
        entry["objectives"] = ["mt"]
    changes = {"positions": "sinusoidal", "scale_embeddings": True, "embedding_norm": False}
    for key, value in changes.items():
        change = {"variants": {"x": {key: value}}}
        with pytest.raises(ConfigError, match=rf"^variants.x.{key}: fairseq's masked model"):
            check(merged(PAPER, change), SCHEMA)
        changed = {"variants": {"x": {key: value, "lr": 0.1}}}  # as fairseq does for translation
        check(merged(without, changed), SCHEMA)
    with pytest.raises(ConfigError, match=r"^training.positions: fairseq's masked model"):
        check(merged(PAPER, {"training": {"positions": {"mlm": "sinusoidal"}}}), SCHEMA)
    check(merged(PAPER, {"variants": {"x": {"norm": "pre", "embedding_norm": False}}}), SCHEMA)


def test_an_integral_float_is_the_integer_that_it_is():
    change = {"seeds": [1.0], "training": {"total_updates": 1.0e5, "probe": {"every": 1.0e1}}}
    config = merged(PAPER, change)
    check(config, SCHEMA)
    found = normalised(config, SCHEMA)
    numbers = found["training"]["total_updates"], found["training"]["probe"]["every"]
    assert [*map(repr, (*found["seeds"], *numbers))] == ["1", "100000", "10"]
    assert repr(found["training"]["clip_norm"]) == "0.0"  # where any number will do, it is kept
    assert normalised(PAPER, SCHEMA) == PAPER


@pytest.mark.parametrize(
    "code", ["en", "ace", "toki", "simple", "pt_br", "zh_TW", "zh_Hant", "sr_latin", "es_419"]
)
def test_languages_are_those_of_opus(code):
    config = copy.deepcopy(PAPER)
    config["corpora"]["europarl"]["languages"].append(code)
    config["runs"].append({"corpus": "europarl", "pairs": [f"lv-{code}"], "objectives": ["mt"]})
    check(config, SCHEMA)
    assert Run("europarl", "mt", f"lv-{code}", "base", 1) in runs(config)


@pytest.mark.parametrize(
    "code", ["EN", "e", "en-de", "../en", "en\n", "joint", "en_", "_en", "en.de"]
)
def test_other_languages_are_refused(code):
    with pytest.raises(ConfigError, match=r"^corpora.europarl.languages\[0\]: "):
        check(merged(PAPER, {"corpora": {"europarl": {"languages": [code]}}}), SCHEMA)


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({}, None),
        ({"training": {"total_updates": 8001}}, None),
        ({"training": {"total_updates": 8000}}, r"^training.warmup_updates: ends at update 8000, "),
        (
            {"variants": {"x": {"total_updates": 100}}},
            r"^variants.x.warmup_updates: ends at update 8000, the training at 100$",
        ),
    ],
)
def test_what_is_hardly_meant_is_told(change, doubt):
    found = list(doubts(merged(PAPER, change)))
    assert len(found) == (doubt is not None)
    assert all(re.search(doubt, line) for line in found)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_our_own_configurations_are_meant(path):
    assert not list(doubts(merged(PAPER, yaml.safe_load(path.read_text(encoding="utf-8")))))


X = {"source": "local", "languages": ["de", "en", "fr"], "valid": 1, "test": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainig": {}}, r"config: unknown key 'trainig' \(did you mean training\?\); accepted: "),
        ({"training": {"lrr": 1}}, r"training: unknown key 'lrr' \(did you mean lr\?\); accepted"),
        (
            {"training": {"lr": "5e-4"}},
            r"training.lr: '5e-4' is not of type number \(in YAML: 0.0005\)$",
        ),
        (
            {"corpora": {"europarl": {"test_sets": ["wtm18"]}}},
            r"corpora.europarl.test_sets: unknown value 'wtm18' .did you mean wmt18.*; accepted: ",
        ),
        ({"training": {"lr": "1e-6"}}, r"training.lr: '1e-6' .* \(in YAML: 1.0e-06\)$"),
        ({"training": {"total_updates": "1e5"}}, r"updates: '1e5' .*integer \(in YAML: 100000\)$"),
        ({"training": {"layers": "2.5"}}, r"training.layers: '2.5' is not of type integer$"),
        ({"training": {"layers": 2.5}}, r"training.layers: 2.5 is not of type integer$"),
        ({"training": {"lr": float("nan")}}, r"training.lr: nan is not a finite number"),
        ({"training": {"weight_decay": float("inf")}}, r"weight_decay: inf is not a finite number"),
        ({"seeds": [2**32]}, r"seeds\[0\]: 4294967296 is more than 2147483647, the most that"),
        ({"scoring": {"sentences": 1e30}}, r"scoring.sentences: 1000.* is more than 2147483647"),
        (
            {"training": {"tokens_per_sample": 40000}},
            r"^training.tokens_per_sample: 40000 do not fit",
        ),
        (
            {"variants": {"x": {"tokens_per_update": 256}}},
            r"^variants.x.tokens_per_sample: 512 do not fit an update of 256$",
        ),
        ({"variants": {"base\n": {}}}, r"variants: key: 'base\\n' has a line break"),
        ({"training": {"norm": "pre\n"}}, r"training.norm: 'pre\\n' has a line break"),
        ({"corpora": {"europarl": {"languages": [False]}}}, r"\[0\]: False .* unquoted no.*quote"),
        ({"corpora": {"europarl": {"version": 7.4}}}, r"version: 7.4 .*string .*must be quoted"),
        (
            {"corpora": {"europarl": {"files": {False: "a"}}}},
            r"europarl.files: key False.*quote it",
        ),
        ({"training": {"dropout": 1.5}}, r"training.dropout: 1.5 is greater than"),
        ({"training": {"embed_dim": 100}}, r"training.embed_dim: not divisible by 8 heads"),
        ({"variants": {"x": {"nrom": 1}}}, r"variants.x: unknown key 'nrom' .did you mean norm"),
        ({"variants": {"X": {"lr": 1}}}, r"variants: 'X' has to be a name of small"),
        ({"variants": {"x": {}}}, r"variants.x: overrides nothing that variants.base does not"),
        ({"variants": {"x": {"lr": 0.0005}}}, r"variants.x: overrides nothing"),
        ({"variants": {"x": {"noise": 0}}}, r"variants.x: overrides nothing"),
        (
            {"variants": {"x": {"lr": 0.1}, "y": {"lr": 0.1}}},
            r"variants.y: overrides nothing that variants.x does not",
        ),
        (
            {"variants": {"x": {"norm": "prre"}}},
            r"variants.x.norm: unknown value 'prre' .did you mean pre",
        ),
        ({"variants": {"x": {"norm": {"lm": "pre"}}}}, r"variants.x.norm: unknown key 'lm' "),
        ({"variants": {"x": {"norm": {"clm": "pre"}}}}, r"variants.x.norm.mlm: missing"),
        ({"variants": {"x": {"noise": 1.5}}}, r"variants.x.noise: 1.5 is greater than"),
        ({"variants": {"x": {"max_train": 0}}}, r"variants.x.max_train: 0 is less than"),
        ({"variants": {"x": {"embed_dim": 500}}}, r"variants.x.embed_dim: not divisible by 8 h"),
        ({"variants": {"x": {"heads": 7}}}, r"variants.x.embed_dim: not divisible by 7 heads"),
        ({"variants": {"x": {"momentum": 0.9}}}, r"variants.x.momentum: only with optimizer: sgd"),
        ({"training": {"momentum": 0.9}}, r"training.momentum: only with optimizer: sgd"),
        ({"variants": {"x": {"optimizer": "sgd"}}}, r"variants.x.momentum: missing"),
        (
            {"variants": {"x": {"optimizer": "sgd", "momentum": 0.9, "adam_eps": 0.1}}},
            r"variants.x.adam_eps: only with optimizer: adam",
        ),
        (
            {"training": {"optimizer": "sgd"}, "variants": {"base": {}}},
            r"^training.momentum: missing; sgd needs one, if only 0$",
        ),
        (
            {"runs": [{"corpus": "europarl", "pairs": ["en-de"], "objectives": ["mt"]}]},
            r"^main_runs.mlm: no run has this objective: write null$",
        ),
        (
            {
                "runs": [
                    {
                        "corpus": "europarl",
                        "pairs": ["en-de"],
                        "objectives": ["mlm"],
                        "languages": [],
                    }
                ],
                "main_runs": {"mlm": None, "clm": None, "mt": None},
            },
            r"^runs: no run: ",
        ),
        ({"variants": {"x": {"optimizer": "sdg"}}}, r"variants.x.optimizer: .*accepted: adam, sgd"),
        ({"corpora": {"new": {"source": "opus"}}}, r"corpora.new.\w+: missing"),
        ({"corpora": {"europarl": {"source": "mtdata"}}}, r"source: unknown value .*url, local"),
        ({"corpora": {"europarl": {"source": "local"}}}, r"corpora.europarl.files: missing"),
        (
            {"corpora": {"wmt18": {"parts": [{"url": "ftp://x"}]}}},
            r"wmt18.parts\[0\].url: .*has to be",
        ),
        (
            {"corpora": {"wmt18": {"parts": [{"url": "http://x/a.gz"}]}}},
            r"wmt18.parts\[0\].url: 'http://x/a.gz' is the same for both languages: put {language}",
        ),
        (
            {"corpora": {"wmt18": {"parts": [{"url": "http://x/a.zip", "files": "*.de"}]}}},
            r"wmt18.parts\[0\].files: '\*.de' is the same for both languages",
        ),
        (
            {
                "corpora": {
                    "wmt18": {"parts": [{"url": "http://x/{language}", "files": {"de": "a"}}]}
                }
            },
            r"wmt18.parts\[0\].files.en: missing",
        ),
        (
            {"corpora": {"europarl": {"source": "local", "files": {"de": "a"}}}},
            r"corpora.europarl.files.bg: missing",
        ),
        (
            {"corpora": {"x": X | {"files": {"de": "a", "en": "b", "fr": "a"}}}},
            r"^corpora.x.files: de and fr have the same file, 'a'$",
        ),
        (
            {"corpora": {"europarl": {"languages": ["zh-CN"]}}},
            r"'zh-CN' has to be a code as O",
        ),
        ({"corpora": {"europarl": {"name": "O'Neil"}}}, r"europarl.name: .* a name that OPUS has$"),
        ({"corpora": {"europarl": {"version": "../v8"}}}, r"europarl.version: .* that OPUS has$"),
        ({"variants": {"big-lr": {"lr": 1}}}, r"variants: 'big-lr' has to be a name of sma"),
        ({"seeds": 7}, r"^seeds: 7 is not of type array .in YAML, a list is in brackets: .7..$"),
        ({"seeds": None}, r"^seeds: None is not of type array$"),
        ({"bpe": {"sample": 100}}, r"^bpe.sample: 100 is less than the minimum of 101$"),
        ({"training": {"lr": 1e39}}, r"^training.lr: 1e\+39 is 0 or infinite in single precision$"),
        ({"training": {"adam_eps": 1e-45}}, r"^training.adam_eps: 1e-45 is 0 or infinite in sing"),
        (
            {"corpora": {"x": X | {"files": "~/a.{language}"}}},
            r"^corpora.x.files: '~/a.{language}' is no path: write it out",
        ),
        (
            {"corpora": {"x": X | {"files": {"de": "a", "en": "$HOME/b", "fr": "c"}}}},
            r"^corpora.x.files: '\$HOME/b' is no path: write it out",
        ),
        (
            {"corpora": {"x": X | {"files": "https://x.org/a.{language}"}}},
            r"^corpora.x.files: 'https://.*' is no path but an address: `source: url`",
        ),
        ({"opus_mirror": "~/opus"}, r"^opus_mirror: '~/opus' is no path"),
        ({"opus_database": ""}, r"^opus_database: '' is no path"),
        (
            {"training": None},
            r"^training: nothing stands below it: indent what belongs to it, or write {}$",
        ),
        ({"corpora": {"new": None}}, r"^corpora.new: nothing stands below it: "),
        ({"seeds": [1, 1]}, r"seeds: .*non-unique"),
        ({"main_runs": {"clm": "europarl/clm/fr"}}, r"main_runs.clm: unknown value .*clm/fi"),
        ({"main_runs": {"clm": "europarl/mlm/en"}}, r"main_runs.clm: unknown value"),
        (
            {"figures": {"also": ["trapezoid"]}, "training": {"trapezoid": {"every": 0}}},
            r"trapezoid: not recorded by variant base; with `training.trapezoid.every` above 0",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(change, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(merged(PAPER, change), SCHEMA)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "europal"}, r"runs\[0\].corpus: unknown value 'europal' \(did you mean europ"),
        ({"objectives": ["clmm"]}, r"runs\[0\].objectives\[0\]: unknown value .*mlm, clm, mt"),
        ({"pairs": ["en-xx"]}, r"runs\[0\].pairs: en-xx: unknown language 'xx'.*; accepted: bg, "),
        ({"pairs": ["en"]}, r"runs\[0\].pairs\[0\]: 'en' has to be two languages"),
        ({"pairs": ["en-en"]}, r"a pair has two languages"),
        ({"pairs": ["en-de", "de-en"]}, r"de-en.* is there twice|en-de.* is there twice"),
        ({"monolingual": {"fi": "en-de"}}, r"runs\[0\].monolingual.fi: .*accepted: en-fi"),
        ({"languages": ["en", "sv"]}, r"runs\[0\].languages: unknown value 'sv'.*de, en, et, fi"),
        ({"directions": "backward"}, r"runs\[0\].directions: .*both, forward"),
    ],
)
def test_a_mistake_in_the_runs_is_one_line_that_names_the_key(change, message):
    config = copy.deepcopy(PAPER)
    config["runs"][0].update(change)
    with pytest.raises(ConfigError, match=message) as error:
        check(config, SCHEMA)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("files", ["train.txt", {"en": "train.txt", "de": "train.txt"}])
def test_archives_of_each_language_may_have_files_of_one_name(files):
    part = {"url": "http://x/{language}.zip", "files": files}
    corpus = PAPER["corpora"]["wmt18"] | {"parts": [part], "languages": ["de", "en"]}
    check(merged(PAPER, {"corpora": {"new": corpus}}), SCHEMA)
