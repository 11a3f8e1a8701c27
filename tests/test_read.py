import pytest

import opus_tree
from download import download
from job import InputError
from opus import corpus_files, local_name
from opus_tree import ENGLISH, FORMATS, GERMAN, TEXT, corpus, truncate, write_tree
from read import read
from text import read_lines


def read_mirror(tmp_path, form, source="en", target="de"):
    """Fetch the corpus from the mirror in `tmp_path` and read it; return the lines by language."""
    folder = tmp_path / "download"
    if not folder.exists():
        download(corpus(form), source, target, folder, mirror=tmp_path)
    outputs = {language: tmp_path / f"{language}.gz" for language in (source, target)}
    pairs = read(folder, corpus(form), source, target, outputs[source], outputs[target])
    lines = {language: list(read_lines(path)) for language, path in outputs.items()}
    assert [len(side) for side in lines.values()] == [pairs, pairs]
    return lines


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("languages", [("de", "en"), ("en", "de")])
def test_each_output_holds_its_language(tmp_path, form, languages):
    write_tree(tmp_path, form)
    assert read_mirror(tmp_path, form, *languages) == TEXT


def test_the_same_input_gives_the_same_bytes(tmp_path):
    write_tree(tmp_path, "moses")
    read_mirror(tmp_path, "moses")
    first = (tmp_path / "de.gz").read_bytes()
    read_mirror(tmp_path, "moses")
    assert (tmp_path / "de.gz").read_bytes() == first


@pytest.mark.parametrize("form", ["moses", "raw"])
@pytest.mark.parametrize("fault", ["missing", "truncated"])
def test_a_faulty_file_is_named(tmp_path, form, fault):
    write_tree(tmp_path, form)
    for path in corpus_files(corpus(form), "en", "de"):
        download(corpus(form), "en", "de", tmp_path / "download", mirror=tmp_path)
        file = tmp_path / "download" / local_name(path)
        if fault == "missing":
            file.unlink()
        else:
            truncate(file)
        with pytest.raises(InputError, match=f"^{file}: (no such file|damaged or truncated)"):
            read_mirror(tmp_path, form)


def assert_fails(tmp_path, form, message):
    with pytest.raises(InputError, match=message):
        read_mirror(tmp_path, form)
    assert not list(tmp_path.glob("*.gz*"))


def test_moses_sides_of_unequal_length(tmp_path):
    opus_tree.write_moses(tmp_path, {"de": b"eins\nzwei\n", "en": b"one\n"})
    message = "Toy_v1_moses_de-en.txt.zip: .*: Toy.de-en.en has 1, Toy.de-en.de has 2"
    assert_fails(tmp_path, "moses", message)


def test_moses_side_missing(tmp_path):
    opus_tree.write_moses(tmp_path, {"de": b"eins\n"})
    assert_fails(tmp_path, "moses", r"Toy_v1_moses_de-en.txt.zip: no member \*\.en$")


def test_moses_side_not_utf8(tmp_path):
    opus_tree.write_moses(tmp_path, {"de": b"eins\nf\xfcnf\n", "en": b"one\nfive\n"})
    assert_fails(tmp_path, "moses", "Toy_v1_moses_de-en.txt.zip: Toy.de-en.de: line 2: not UTF-8")


def test_moses_carriage_return_inside_a_line(tmp_path):
    """opus_read would make two lines of it, on this side only."""
    opus_tree.write_moses(tmp_path, {"de": b"ei\rns\nzwei\n", "en": b"one\ntwo\n"})
    assert_fails(tmp_path, "moses", "ends after line 2")


def test_moses_carriage_returns_on_both_sides(tmp_path):
    opus_tree.write_moses(tmp_path, {"de": b"ei\rns\nzwei\n", "en": b"one\nt\rwo\n"})
    assert_fails(tmp_path, "moses", "carriage returns .*: 3 pairs instead of 2")


@pytest.mark.parametrize("form", ["raw", "xml"])
def test_document_missing(tmp_path, form):
    write_tree(tmp_path, form)
    opus_tree.write_zip(tmp_path / opus_tree.ROOT / form / "en.zip", {"Toy/README": b""})
    assert_fails(tmp_path, form, f"'en/a.xml.gz' in the archive '.*Toy_v1_{form}_en.zip'")


@pytest.mark.parametrize("form", ["raw", "xml"])
def test_document_not_utf8(tmp_path, form):
    german = opus_tree.document(GERMAN, form).replace("ö".encode(), b"\xf6")
    english = opus_tree.document(ENGLISH, form)
    opus_tree.write_documents(tmp_path, form, {"de": german, "en": english})
    line = german[: german.index(b"\xf6")].count(b"\n") + 1
    assert_fails(tmp_path, form, f"Toy/{form}/de/a.xml' .*not well-formed.*: line {line},")
