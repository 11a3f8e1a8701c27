import json

import pytest

from closer_look.jobs import manifest
from closer_look.jobs.job import InputError
from closer_look.jobs.manifest import (
    check_bpe,
    check_files,
    check_folder,
    read_manifest,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "bin" / "en"
    folder.mkdir(parents=True)
    for name in ("train.bin", "train.idx"):
        (folder / name).write_bytes(name.encode())
    files = {path.name: path for path in folder.iterdir()}
    write_manifest(tmp_path / "bin" / "en.json", files, language="日本語")
    return folder


def test_a_manifest_is_read_as_it_was_written(folder):
    found = read_manifest(folder.with_name("en.json"))
    assert found["language"] == "日本語"
    assert found["sha256"].keys() == {"train.bin", "train.idx"}


def test_a_manifest_appears_as_a_whole_or_not_at_all(folder, monkeypatch):
    path = folder.with_name("en.json")
    before = path.read_text(encoding="utf-8")

    def no_space(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.json, "dumps", no_space)
    with pytest.raises(OSError, match="No space"):
        write_manifest(path, {})
    assert path.read_text(encoding="utf-8") == before
    assert [*path.parent.glob("*unfinished*")] == []


@pytest.mark.parametrize("content", [b"", b'{"sha256": {', b"\0" * 99, b"\xff"])
def test_a_damaged_manifest_is_one_line_that_names_it(folder, content):
    path = folder.with_name("en.json")
    path.write_bytes(content)
    for function in (read_manifest, lambda path: check_folder(folder, path)):
        with pytest.raises(InputError, match=f"^{path}: damaged .*; remove it, and what it belong"):
            function(path)


def test_files_that_are_what_they_were_pass(folder):
    check_folder(folder, folder.with_name("en.json"))


def test_a_flipped_bit_is_one_line_that_names_the_file_and_what_to_do(folder):
    path = folder / "train.bin"
    path.write_bytes(b"trbin.bin")
    made = folder.with_name("en.json")
    message = f"^{path}: damaged: not what {made} .*; remove {folder} and {made}, and they are made"
    with pytest.raises(InputError, match=message):
        check_folder(folder, made)


def test_a_missing_file_is_missing(folder):
    (folder / "train.idx").unlink()
    with pytest.raises(InputError, match=f"^{folder}/train.idx: missing; remove"):
        check_folder(folder, folder.with_name("en.json"))


def test_a_damaged_bpe_model_is_refused(tmp_path):
    model, dictionary = tmp_path / "spm.model", tmp_path / "dict.txt"
    model.write_bytes(b"model")
    dictionary.write_bytes(b"a 1\n")
    write_manifest(tmp_path / "bpe.json", {"model": model, "dictionary": dictionary})
    check_bpe(model, dictionary=dictionary)
    dictionary.write_bytes(b"b 1\n")
    check_bpe(model)
    with pytest.raises(InputError, match=f"^{dictionary}: damaged: .*; remove {tmp_path}, and it"):
        check_bpe(model, dictionary=dictionary)


def test_names_that_a_manifest_does_not_have_are_not_compared(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps({"sha256": {}}))
    check_files(tmp_path / "old.json", {"log": tmp_path / "log.parquet"}, "")
