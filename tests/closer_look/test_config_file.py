import json

import pytest
import yaml

from closer_look.config import ConfigError, settings_by_run
from closer_look.config_file import adopt_types, check_command_line, load, read
from fake_bin import ROOT


def write(folder, text, name="my.yaml"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_file_is_read_as_yaml_has_it(tmp_path):
    text = "a: &x {b: 1, c: [1, 2]}\nd: {<<: *x, b: 2}\ne: no\n"
    text += "f: [0, -0.5, '010', '1:30', a:b, 0.125, 1.0, 0.001]\n"
    assert read(write(tmp_path, text)) == {
        "a": {"b": 1, "c": [1, 2]},
        "d": {"b": 2, "c": [1, 2]},
        "e": False,
        "f": [0, -0.5, "010", "1:30", "a:b", 0.125, 1.0, 0.001],
    }
    content = {"a": {"b": [1, "ä"]}}
    assert read(write(tmp_path, json.dumps(content, indent="\t"), "my.json")) == content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\n'a': 3\n", "a is there twice, in lines 1 and 3: join them"),
        ("a:\n  b: 1\n  c: 2\n  b: 1\n", "a.b is there twice, in lines 2 and 4"),
        ("a:\n- {x: 1}\n- {b: 1, b: 2}\n", r"a\[1\].b is there twice, in line 3: join"),
        ('{"a": 1,\n"a": 2}', "a is there twice, in lines 1 and 2"),
        ("a: 1\nb: [2, 010]\n", "line 2: YAML takes 010 for 8; if it is text, quote it"),
        ("a:\n  b: 1:30\n", "line 2: YAML takes 1:30 for 90"),
        ("a: 1\nb: 125.000\n", "line 2: YAML takes 125.000 for 125.0; if it is text, quote it"),
        ("a:\n  b: {language}.txt\n", r"line 2: expected .*; .* quote text with any of : # {"),
        ("a: &x [1, *x]\n", "line 1: what this anchor names contains itself"),
        ("a: 1\nb: &x {c: {d: *x}}\n", "line 2: what this anchor names contains itself"),
        ("a: [1\nb: 2\n", "line 2: "),
        ("a: 1\n\tb: 2\n", "line 2: "),
        (f"a: {'[' * 3000}{']' * 3000}\n", "is nested too deeply to be read"),
        ("- a\n", "is no mapping of keys to values"),
        ("", "is no mapping of keys to values"),
    ],
)
def test_what_would_be_lost_or_cannot_be_read_is_one_line_with_the_file(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=f"^{path}: {message}") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_json_is_read_as_json(tmp_path):
    (tmp_path / "a.json").write_text('{"training": {"lr": 1e-3}}')
    assert read(tmp_path / "a.json") == {"training": {"lr": 0.001}}
    (tmp_path / "b.json").write_text('{"training":\n {lr: 1}}')
    with pytest.raises(ConfigError, match=r"b.json: line 2: "):
        read(tmp_path / "b.json")


def test_a_file_that_is_no_text_or_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="none.yaml: No such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: ä\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="latin.yaml: is not UTF-8"):
        read(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["seeds=[010]"], "seeds: line 1: YAML takes 010 for 8; if it is text, quote it"),
        (["training={noise: 1:30}"], "training: line 1: YAML takes 1:30 for 90"),
        (["training={lr: 1.0, lr: 2.0}"], "training: lr is there twice, in line 1"),
        (["x=1", "seeds=[1]", "seeds=[2]"], "seeds: is given twice: join them"),
        ([f"x={'[' * 3000}{']' * 3000}"], "x: is nested too deeply to be read"),
        (["x=&a [*a]"], "x: line 1: what this anchor names contains itself"),
    ],
)
def test_the_command_line_is_read_as_strictly_as_files(entries, message):
    with pytest.raises(ConfigError) as error:
        check_command_line(entries)
    assert str(error.value).startswith(f"--config {message}")


def test_what_the_command_line_may_say():
    check_command_line(["seeds=[1, 10]", "training={lr: 0.1}", "x=", "y={a", "z=a=b", "w='010'"])
    check_command_line([])


def test_what_the_command_line_gave_as_text_gets_its_type():
    given = {"seeds": ["1", "2"], "training": {"lr": "1.0e-3", "noise": "null"}, "x": ["no"]}
    config = {"seeds": ["1", "2"], "training": {"lr": "1.0e-3", "noise": "null", "layers": 4}}
    config |= {"x": ["no"], "y": "1"}
    adopt_types(config, given)
    assert config == {
        "seeds": [1, 2],
        "training": {"lr": 0.001, "noise": None, "layers": 4},
        "x": ["no"],  # a language, say
        "y": "1",
    }


def test_what_is_not_from_the_command_line_is_left_alone():
    config = {"seeds": [3], "training": "x"}
    adopt_types(config, {"seeds": ["1"], "training": {"lr": "1"}})
    assert config == {"seeds": [3], "training": "x"}


def test_the_configuration_is_that_of_snakemake(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    (tmp_path / "change.yaml").write_text(yaml.safe_dump({"training": {"lr": 7}, "seeds": [1, 2]}))
    config = load([tmp_path / "change.yaml"])
    assert (config["training"]["lr"], config["training"]["heads"]) == (7, 8)
    assert len(settings_by_run(config)) == 30
