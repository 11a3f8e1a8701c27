import bz2
import gzip
import lzma
import shutil

import pytest
from backports import zstd

import opus_tree
from closer_look.data.opus import corpus_files, local_name
from closer_look.data.text import read_lines
from closer_look.jobs.job import InputError
from opus_tree import ENGLISH, FORMATS, GERMAN, TEXT, corpus, truncate, write_tree
from scripts.data.download import download
from scripts.data.read import opus_read, read


def read_mirror(tmp_path, form, source="en", target="de"):
    """Fetch the corpus from the mirror in `tmp_path` and read it; return the lines by language."""
    folder = tmp_path / "download"
    if not folder.exists():
        download(corpus(form), source, target, folder, mirror=tmp_path)
    outputs = {language: tmp_path / f"{language}.gz" for language in (source, target)}
    (pairs,) = read(folder, corpus(form), source, target, outputs[source], outputs[target])
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


def test_moses_is_what_opus_read_makes_of_it(tmp_path):
    write_tree(tmp_path, "moses")
    lines = read_mirror(tmp_path, "moses")
    sides = tmp_path / "source", tmp_path / "target"
    opus_read(tmp_path / "download", corpus("moses"), "en", "de", *sides)
    assert [list(read_lines(side)) for side in sides] == [lines["en"], lines["de"]]


@pytest.mark.parametrize("form", ["moses", "raw"])
@pytest.mark.parametrize("fault", ["missing", "truncated"])
def test_a_faulty_file_is_named(tmp_path, form, fault):
    write_tree(tmp_path, form)
    for path in corpus_files(corpus(form), "en", "de"):
        shutil.rmtree(tmp_path / "download", ignore_errors=True)
        download(corpus(form), "en", "de", tmp_path / "download", mirror=tmp_path)
        file = tmp_path / "download" / local_name(path)
        if fault == "missing":
            file.unlink()
        else:
            truncate(file)
        with pytest.raises(InputError, match=f"^{file}: (.*no such file|.*damaged or truncated)"):
            read_mirror(tmp_path, form)


def assert_fails(tmp_path, form, message):
    with pytest.raises(InputError, match=message):
        read_mirror(tmp_path, form)
    assert not list(tmp_path.glob("*.gz*"))


def test_moses_sides_of_unequal_length(tmp_path):
    opus_tree.write_moses(tmp_path, {"de": b"eins\nzwei\n", "en": b"one\n"})
    message = r"de-en.txt.zip: Toy.de-en.en: 1 lines, but 2 in .*de-en.txt.zip: Toy.de-en.de"
    assert_fails(tmp_path, "moses", message)


def test_moses_side_missing(tmp_path):
    opus_tree.write_moses(tmp_path, {"de": b"eins\n"})
    assert_fails(
        tmp_path, "moses", r"_de-en.txt.zip: no member \*\.en; it has README, Toy.de-en.de$"
    )


def test_moses_side_not_utf8(tmp_path):
    opus_tree.write_moses(tmp_path, {"de": b"eins\nf\xfcnf\n", "en": b"one\nfive\n"})
    assert_fails(tmp_path, "moses", r"Toy_v1_moses_de-en.txt.zip: Toy.de-en.de: line 2: not UTF-8")


def test_a_carriage_return_ends_no_line(tmp_path):
    """`opus_read` would make two lines of it, on this side only."""
    opus_tree.write_moses(tmp_path, {"de": b"ei\rns\nzwei\n", "en": b"one\ntwo\r\n"})
    assert read_mirror(tmp_path, "moses") == {"de": ["ei\rns", "zwei"], "en": ["one", "two\r"]}


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
    assert_fails(tmp_path, form, f"Toy/{form}/de/a.xml: .*not well-formed.*: line {line},")


def write_alignment(mirror, content):
    path = mirror / opus_tree.ROOT / "xml" / "de-en.xml.gz"
    path.write_bytes(gzip.compress(content))


GROUP = '<linkGrp targType="s" fromDoc="de/{0}.xml.gz" toDoc="en/{0}.xml.gz">\n{1}</linkGrp>\n'
LINK = '<link id="SL{0}" xtargets="{0};{0}" />\n'


def write_groups(mirror, form, cut=lambda text: text, broken=None):
    """Write two documents of two sentences a language, one of them `broken` in German."""
    for language in ("de", "en"):
        documents = {
            f"Toy/{form}/{language}/{name}.xml": opus_tree.document(
                [f"{name} 1", f"{name} 2"], form
            )
            for name in "ab"
        }
        if broken is not None and language == "de":
            member = f"Toy/{form}/de/b.xml"
            documents[member] = broken(documents[member])
        opus_tree.write_zip(mirror / opus_tree.ROOT / form / f"{language}.zip", documents)
    groups = "".join(GROUP.format(name, LINK.format(1) + LINK.format(2)) for name in "ab")
    text = (
        f'<?xml version="1.0" encoding="utf-8"?>\n<cesAlign version="1.0">\n{groups}</cesAlign>\n'
    )
    (mirror / opus_tree.ROOT / "xml").mkdir(parents=True, exist_ok=True)
    write_alignment(mirror, cut(text).encode())


@pytest.mark.parametrize("form", ["raw", "xml"])
@pytest.mark.parametrize(
    "cut",
    [
        lambda text: "",
        lambda text: text[: text.index("<linkGrp") + 30],
        lambda text: text[: text.rindex('<link id="SL2"')],  # 3 of 4 pairs
        lambda text: text[: text.rindex("</linkGrp>")],
        lambda text: text[: text.rindex("</linkGrp>") + 11],
        lambda text: text[: text.index("</linkGrp>") + 11],
        lambda text: text[: text.rindex("</cesAlign")],
        lambda text: text.replace('" />', '"'),
    ],
)
def test_an_alignment_that_is_cut_is_no_shorter_one(tmp_path, form, cut):
    write_groups(tmp_path, form, cut)
    assert_fails(tmp_path, form, r"Toy_v1_xml_de-en.xml.gz: damaged or truncated: .*: line \d+")


@pytest.mark.parametrize("form", ["raw", "xml"])
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda text: b"", "damaged or truncated: no element found"),
        (lambda text: text[: text.index(b'<s id="2"')], "damaged or truncated: no element found"),
        (lambda text: text[: len(text) // 2], "damaged or truncated: "),
        (lambda text: text.replace(b"</text>", b""), "damaged or truncated: no element found"),
        (lambda text: b"<text></text>", "has none of the 2 sentences it is to have"),
        (lambda text: text.replace(b"<s ", b"<p ").replace(b"</s>", b"</p>"), "has none of the 2"),
    ],
)
def test_a_document_that_is_cut_or_empty(tmp_path, form, broken, message):
    write_groups(tmp_path, form, broken=broken)
    assert_fails(tmp_path, form, f"Toy_v1_{form}_de.zip: Toy/{form}/de/b.xml: {message}")


@pytest.mark.parametrize("form", ["raw", "xml"])
def test_whole_documents_are_read_and_single_sentences_may_be_missing(tmp_path, form, capsys):
    write_groups(tmp_path, form, broken=lambda text: text.replace(b'<s id="2">', b'<s id="9">'))
    assert read_mirror(tmp_path, form)["en"] == ["a 1", "a 2", "b 1", "b 2"]
    assert "1 of 8 sentences are not in their documents" in capsys.readouterr().out


COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


def encoded(language):
    return "".join(f"{line}\n" for line in TEXT[language]).encode()


def read_text(tmp_path, entry):
    """Read a corpus that is not OPUS's; return the lines by language."""
    outputs = {language: tmp_path / f"out.{language}.gz" for language in ("en", "de")}
    counts = read(tmp_path, entry, "en", "de", *outputs.values())
    lines = {language: list(read_lines(path)) for language, path in outputs.items()}
    assert {len(side) for side in lines.values()} == {sum(counts)}
    return lines


@pytest.mark.parametrize("suffix", COMPRESS)
def test_local_text_in_any_compression(tmp_path, suffix):
    for language in TEXT:
        path = tmp_path / f"en-de.{language}{suffix}"
        path.write_bytes(COMPRESS[suffix](encoded(language)))
    pattern = f"{tmp_path}/{{source}}-{{target}}.{{language}}{suffix}"
    by_language = {language: f"{tmp_path}/en-de.{language}{suffix}" for language in TEXT}
    for files in (pattern, by_language):
        assert read_text(tmp_path, {"source": "local", "files": files}) == TEXT


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"no such format"])
def test_damaged_local_text_is_named(tmp_path, suffix, damage):
    for language in TEXT:
        content = COMPRESS[suffix](encoded(language) * 999)
        (tmp_path / f"{language}{suffix}").write_bytes(
            damage(content) if language == "de" else content
        )
    files = f"{tmp_path}/{{language}}{suffix}"
    with pytest.raises(InputError, match=f"^{tmp_path}/de{suffix}: damaged or truncated"):
        read_text(tmp_path, {"source": "local", "files": files})


def archives(folder):
    """Write one part in a tar, one in a zip archive and one in files; return the parts."""
    for language in TEXT:
        (folder / f"x.{language}").write_bytes(encoded(language))
    shutil.make_archive(folder / "h_tar", "gztar", folder, ".")
    shutil.make_archive(folder / "h_zip", "zip", folder, ".")
    for name in ("h_tar.tar.gz", "h_zip.zip"):
        assert (folder / name).is_file()
    return [
        {"url": "http://h/tar.tar.gz", "files": "*x.{language}"},
        {"url": "http://h/zip.zip", "files": {"de": "x.de", "en": "x.en"}},
        {"url": "http://h/x.{language}"},
    ]


def test_parts_are_read_one_after_the_other(tmp_path):
    parts = archives(tmp_path)
    for language in TEXT:
        (tmp_path / f"h_x.{language}").write_bytes(encoded(language))
    lines = read_text(tmp_path, {"source": "url", "parts": parts})
    assert lines == {language: TEXT[language] * 3 for language in TEXT}


@pytest.mark.parametrize("number", [0, 1])
def test_a_member_that_an_archive_lacks(tmp_path, number):
    part = archives(tmp_path)[number] | {"files": "y.{language}"}
    with pytest.raises(InputError, match=r"h_(tar.tar.gz|zip.zip): no member y.en; it has "):
        read_text(tmp_path, {"source": "url", "parts": [part]})


def test_a_truncated_tar_is_named(tmp_path):
    part = archives(tmp_path)[0]
    truncate(tmp_path / "h_tar.tar.gz")
    with pytest.raises(InputError, match=r"h_tar.tar.gz: damaged or truncated"):
        read_text(tmp_path, {"source": "url", "parts": [part]})
