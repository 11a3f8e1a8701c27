"""Text is UTF-8 whatever the locale: in the code, and in what small jobs do under other ones."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("scripts", "src", "bench", "resources")
TEXT = {"read_text", "write_text", "TextIOWrapper", "NamedTemporaryFile", "fdopen"}


def mode_of(argument):
    """The mode that an argument is, or "" if it is none."""
    value = getattr(argument, "value", None)
    return value if isinstance(value, str) and re.fullmatch("[rwax][bt+]*", value) else ""


def is_text_without_encoding(call):
    """Whether a call reads or writes text in the locale's encoding; ruff finds some of them."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if keywords.keys() & {"encoding", None}:
        return False
    if name in ("run", "Popen", "check_output"):
        return "text" in keywords or "universal_newlines" in keywords
    if name == "open":
        is_method = isinstance(call.func, ast.Attribute)
        if is_method and (
            keywords.keys() & {"fileobj"} or (call.args and not mode_of(call.args[0]))
        ):
            return False  # a member of an archive, by its name
        modes = [keywords.get("mode"), *call.args[not is_method :]]
        return not any("b" in mode_of(mode) for mode in modes)
    return name in TEXT and len(call.args) < (2 if name == "write_text" else 1)


@pytest.mark.parametrize(
    "path", [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))], ids=str
)
def test_every_text_file_is_opened_as_utf8(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if is_text_without_encoding(call)] == []


PROGRAM = """
import sys
from pathlib import Path
from types import SimpleNamespace

from scripts.data.clean import clean
from closer_look.jobs.command import run
from closer_look.jobs.job import InputError, job, tell
from closer_look.page.exhibits import Captions
from scripts.data.learn_bpe import learn_bpe
from closer_look.jobs.manifest import read_manifest, write_manifest
from scripts.data.read import read
from scripts.data.split import PARTS, split

with job(SimpleNamespace(log=["log"], rule="rule")):
    print("größer − 終")
    tell("said: ſ終")
    print("to stderr: ä", file=sys.stderr)
    run("python", "child.py")
    entry = {"source": "local", "files": "text.{language}"}
    read(None, entry, "en", "zh", "read.en", "read.zh")
    clean("read.en", "read.zh", "clean.en", "clean.zh", 250, 9.0)
    outputs = {part: (f"{part}.en", f"{part}.zh") for part in PARTS}
    split("clean.en", "clean.zh", outputs, 3, 3, None, 1)
    learn_bpe(["train.en", "train.zh"], "model", "dictionary", 60, 1000)
    write_manifest("manifest", {"zh": "train.zh"}, name="ü終")
    assert read_manifest("manifest")["name"] == "ü終"
    captions = Captions(Path(sys.argv[1]).glob("*.rst"), {})
    Path("caption").write_text(captions.read("caption", None), encoding="utf-8")
    raise InputError("größer − 終")
"""


CHILD = """
import pathlib

print("ä終−")
pathlib.Path("child").write_text("ä終−")  # as tools do, in the locale's encoding
"""


def latin1(folder):
    """A locale in ISO-8859-1, where it can be made; return the variables that choose it."""
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / "en_US.ISO-8859-1"]
    if not shutil.which("localedef") or subprocess.run(command).returncode:
        pytest.skip("the locale cannot be made here")
    return {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"}


NO_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = {
    "ASCII": lambda folder: {"LC_ALL": "C", **NO_UTF8},
    "POSIX": lambda folder: {"LC_ALL": "POSIX", "LANG": "", **NO_UTF8},
    "ISO-8859-1": lambda folder: latin1(folder) | NO_UTF8,
    "streams in ISO-8859-1": lambda folder: {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    "streams in ASCII": lambda folder: {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"},
}


def made_under(folder, variables):
    """Run the program; return all the files that it makes, and what it says on the terminal."""
    random = Random(1)
    for language, alphabet in (("en", "abcdäöü−"), ("zh", "一二三四五六")):
        lines = ["".join(random.choices(alphabet, k=9)) + "\n" for _ in range(200)]
        (folder / f"text.{language}").write_text("".join(lines), encoding="utf-8")
    (folder / "captions").mkdir()
    (folder / "captions/caption.rst").write_text("Größe − 終, “so”.", encoding="utf-8")
    (folder / "child.py").write_text(CHILD, encoding="utf-8")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "program.py", "captions"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", **variables},
        stderr=subprocess.PIPE,
    )
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return files, ran.stderr.decode()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return made_under(tmp_path_factory.mktemp("utf8"), {"LC_ALL": "C.UTF-8"})[0]


@pytest.mark.parametrize("locale", LOCALES)
def test_files_logs_and_messages_are_the_same_under_every_locale(tmp_path, expected, locale):
    (tmp_path / "here").mkdir()
    files, said = made_under(tmp_path / "here", LOCALES[locale](tmp_path))
    assert said == "said: ſ終\nerror: größer − 終\n"
    log = files["log"].decode()
    for line in ("größer − 終", "to stderr: ä", "ä終−", "error: größer − 終"):
        assert f"{line}\n" in log
    assert files["child"].decode() == "ä終−"
    assert "Größe − 終, “so”." in files["caption"].decode()
    assert files | {"log": b""} == expected | {"log": b""}  # where SentencePiece says when


def test_the_rules_open_files_as_utf8():
    for path in (ROOT / "workflow").rglob("*"):
        if path.suffix in (".smk", "") and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                if re.search(r"\bopen\(|read_text\(|write_text\(", line):
                    assert "encoding=" in line, f"{path}: {line}"
