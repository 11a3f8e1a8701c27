import os
import subprocess

import pytest
import yaml

from fake_bin import ROOT, snakemake, workspace

PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/profile.yaml"))
OTHERS = [name for name in PROFILES if name != "default"]
SLURM = [name for name in PROFILES if name.startswith("slurm")]


def profile(name):
    return yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A workspace in which `make profiles` was run."""
    folder = workspace(tmp_path_factory.mktemp("workspace"))
    subprocess.run(
        ["make", f"--makefile={ROOT}/Makefile", "profiles"],
        cwd=folder,
        env=os.environ | {"XDG_CONFIG_HOME": str(folder / ".config")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return folder


@pytest.mark.parametrize("name", OTHERS)
def test_the_default_profile_overrides_nothing_that_others_want_otherwise(name):
    """Snakemake reads profiles/default beside `--profile NAME`, and prefers its equal keys."""
    default, other = profile("default"), profile(name)
    for key in default.keys() & other.keys():
        assert default[key] == other[key], key


@pytest.mark.parametrize("name", OTHERS)
def test_a_profile_is_complete_without_the_default(name):
    assert profile("default").keys() - {"cores"} <= profile(name).keys()


def test_the_profiles_of_slurm_differ_in_the_card_alone():
    one, other = (profile(name) for name in SLURM)
    for found in (one, other):
        train, score = (found["set-resources"][rule] for rule in ("train", "score"))
        assert train.pop("gres").startswith("gpu:")
        assert score.pop("gres").startswith("gpu:")
        assert 32768 % train.pop("max_tokens") == 0
    assert one == other


@pytest.mark.parametrize("option", ["--profile={}", "--workflow-profile=profiles/{}"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("slurm", ["gres=gpu:v100:1", "max_tokens=2048", "runtime=2880", "mem_mb=32000"]),
        ("slurm-modern", ["gres=gpu:a100:1", "max_tokens=16384", "runtime=2880"]),
        ("multi-gpu", ["gpu=1", "max_tokens=2048"]),
    ],
)
def test_what_a_training_asks_for(folder, option, name, expected):
    log = "results/runs/europarl/clm/en/base/1/log.parquet"
    status, output = snakemake(folder, "--dry-run", option.format(name), "--", log)
    assert status == 0, output
    asked = output.split("rule train:")[1].split("resources: ")[1].splitlines()[0].split(", ")
    assert set(expected) <= set(asked)


@pytest.mark.parametrize("name", SLURM)
def test_commented_lines_are_entries(folder, name):
    """Each is a line to uncomment, and makes a profile that Snakemake accepts."""
    text = (ROOT / f"profiles/{name}/profile.yaml").read_text()
    lines = text.splitlines(keepends=True)
    entries = ("slurm_account", "slurm_partition", "constraint", "runtime", "config", '  - "')
    for number, line in enumerate(lines):
        indent, _, entry = line.partition("# ")
        if not indent.strip() and entry.startswith(entries):
            lines[number] = indent + entry
    uncommented = yaml.safe_load("".join(lines))
    assert {"slurm_account", "slurm_partition"} < uncommented["default-resources"].keys()
    train = uncommented["set-resources"]["train"]
    assert {"slurm_partition", "constraint", "runtime"} < train.keys()
    path = folder / "profiles" / name / "profile.yaml"
    path.write_text("".join(lines))
    try:
        status, output = snakemake(folder, "--dry-run", "--profile", name, "--", "models")
    finally:
        path.write_text(text)
    assert status == 0, output
    assert f"runtime={train['runtime']}" in output
    assert "slurm_account=my_project" in output
