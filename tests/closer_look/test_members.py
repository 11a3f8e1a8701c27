"""Archives as people pack them."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest
from backports import zstd

from closer_look.data import members
from closer_look.data.members import find, find_only, find_pair, list_members
from closer_look.data.text import check_intact, read_lines
from closer_look.jobs.job import InputError
from opus_tree import truncate

KINDS = ("tar", "tar.gz", "tgz", "tar.xz", "zip")


def pack(path, names):
    """Write an archive of files whose text is what `names` says, or their own name."""
    contents = names if isinstance(names, dict) else {name: f"{name}\n".encode() for name in names}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return path
    mode = {"tar": "w", "tgz": "w:gz"}.get(path.suffix[1:], f"w:{path.suffix[1:]}")
    with tarfile.open(path, mode) as archive:
        for name, content in contents.items():
            header = tarfile.TarInfo(name.rstrip("/"))
            header.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


@pytest.fixture(params=KINDS)
def archive(request, tmp_path):
    """Write an archive of some kind and give its path."""
    return lambda names: pack(tmp_path / f"a.{request.param}", names)


CLUTTER = {"__MACOSX/._x.de": b"\0\5", "._x.de": b"\0", "c/._x.de": b"\0", ".DS_Store": b"\0"}


@pytest.mark.parametrize(
    ("names", "pattern", "found"),
    [
        (["x.de", "x.en"], "x.de", "x.de"),
        (["./x.de", "./x.en"], "x.de", "./x.de"),
        (["x.de"], "./x.de", "x.de"),
        (["/abs/x.de"], "abs/x.de", "/abs/x.de"),
        (["c\\x.de", "c\\x.en"], "c/x.de", "c\\x.de"),
        (["c/x.de", "c/x.en"], "x.de", "c/x.de"),
        (["c/d/x.de", "c/x.en"], "d/*.de", "c/d/x.de"),
        (["x.de", "old/x.de"], "x.de", "x.de"),
        (["x.de", "old/x.de"], "old/x.de", "old/x.de"),
        (["x[1].de", "x1.de"], "x[1].de", "x[1].de"),
        (["a?.de", "ab.de"], "a?.de", "a?.de"),
        (["x[de].txt", "xd.txt", "xe.txt"], "*[de].txt", "x[de].txt"),
        (["a*.de", "ab.de"], "a*.de", "a*.de"),
        (["x.de.gz", "x.en.gz"], "x.de", "x.de.gz"),
        (["x.de.xz", "x.de"], "x.de", "x.de"),
        (["c/x.de.bz2"], "x.de", "c/x.de.bz2"),
        (["train.de.zst", "train.en.zst"], "*.de", "train.de.zst"),
        (["x.de", *CLUTTER], "*.de", "x.de"),
        ([*CLUTTER, "x.de"], "*x.de", "x.de"),
        (["x\n.de"], "*.de", "x\n.de"),
        (["U\u0308bung/x.de"], "\xdcbung/x.de", "U\u0308bung/x.de"),  # as macOS packs it
        (["\xdcbung/x.de"], "U\u0308bung/*.de", "\xdcbung/x.de"),
    ],
)
def test_the_file_that_is_meant(archive, names, pattern, found):
    path = archive(names)
    assert find(path, pattern) == (path, found)


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (["dev.de", "train.de"], "*.de", "*.de may be dev.de or train.de: say which in `files`"),
        (["a/x.de", "b/x.de"], "x.de", "x.de may be a/x.de or b/x.de: say which in `files`"),
        (["x.de", "./x.de"], "x.de", "x.de may be x.de or ./x.de: say which in `files`"),
        (["x.de.gz", "x.de.xz"], "x.de", "x.de may be x.de.gz or x.de.xz: say which in `files`"),
        (["x1.de", "xd.de"], "x[1d].de", "no member x[1d].de; it has x1.de, xd.de"),
        (["x.en"], "x.d?", "no member x.d?; it has x.en"),
        (["x.de"], "X.de", "no member X.de; it has x.de"),
        (list(CLUTTER), "x.de", "no member x.de; it has no files"),
        (list("abcdefghij"), "x", "no member x; it has a, b, c, d, e, f, g, h and 2 more"),
    ],
)
def test_what_is_not_there_or_not_clear_is_refused_with_what_is_there(
    archive, names, pattern, message
):
    path = archive(names)
    with pytest.raises(InputError) as error:
        find(path, pattern)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_is_called_one_where_no_file_is_meant(tmp_path, kind):
    path = pack(tmp_path / "a.tar", ["data/x.de", "data/x.en"])
    with tarfile.open(path, "a") as archive:
        header = tarfile.TarInfo("train.de")
        header.type, header.linkname = kind, "data/x.de"
        archive.addfile(header)
    message = f"{path}: train.de is a link to data/x.de: name that in `files`"
    for function in (
        lambda: find(path, "train.de"),
        lambda: find_pair(path, ("train.de", "x.en"), ("de", "en")),
    ):
        with pytest.raises(InputError) as error:
            function()
        assert str(error.value) == message
    assert find(path, "*.de").name == "data/x.de"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        pack(path, ["x.de", "x.en"])
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr("x.de", "more")
        else:
            with tarfile.open(path, "a") as archive:
                archive.addfile(tarfile.TarInfo("x.de"))
        with pytest.raises(InputError, match=f"{path}: x.de is in it 2 times"):
            find(path, "x.de")


@pytest.mark.parametrize(
    ("names", "pattern", "stem"),
    [
        (["dev.en", "train.de", "train.en"], "*.{}", "train"),
        (["train.de", "dev.de", "dev.en", "test.en"], "*.{}", "dev"),
        (["T.de-en.de", "T.de-en.en", "README", "LICENSE"], "*.{}", "T.de-en"),
        (["c/x.de.gz", "c/x.en.gz"], "*.{}", "c/x"),
    ],
)
def test_sides_that_go_together(archive, names, pattern, stem):
    path = archive(names)
    found = find_pair(path, (pattern.format("de"), pattern.format("en")), ("de", "en"))
    assert [member.name.removesuffix(".gz") for member in found] == [f"{stem}.de", f"{stem}.en"]


@pytest.mark.parametrize(
    "languages", [("en", "en_GB"), ("pt", "pt_br"), ("zh_Hant", "zh_cn"), ("es_419", "sr_latin")]
)
def test_any_language_code_tells_the_sides(archive, languages):
    stem = f"Corpus.{'-'.join(languages)}"
    path = archive([f"{stem}.{language}" for language in languages])
    for sides in (languages, languages[::-1]):
        found = find_pair(path, tuple(f"*.{side}" for side in sides), sides)
        assert [member.name for member in found] == [f"{stem}.{side}" for side in sides]


def test_what_a_star_stands_for_may_differ_in_the_language(archive):
    path = archive(["de/train.de", "en/train.en"])
    found = find_pair(path, ("*.de", "*.en"), ("de", "en"))
    assert [member.name for member in found] == ["de/train.de", "en/train.en"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["dev.en", "train.de"],
            "of *.de and *.en, no two go together: it has train.de, dev.en",
        ),
        (
            ["dev.de", "dev.en", "train.de", "train.en"],
            "*.de and *.en may be dev.de with dev.en or train.de with train.en: "
            "say which in `files`",
        ),
        (["de/a.de", "en/b.en"], "of *.de and *.en, no two go together: it has de/a.de, en/b.en"),
        (["a.de", "a.fi"], "no member *.en; it has a.de, a.fi"),
    ],
)
def test_dev_is_not_paired_with_train(archive, names, message):
    path = archive(names)
    with pytest.raises(InputError) as error:
        find_pair(path, ("*.de", "*.en"), ("de", "en"))
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_files_that_are_compressed_once_more_are_read(archive, compress):
    path = archive({"c/": b"", "./c/x.de.gz": compress(b"eins\nzwei\n"), "b": b"-\n" * 9999})
    if compress is gzip.compress:
        assert list(read_lines(find(path, "x.de"))) == ["eins", "zwei"]
    path = archive({"c/x.de": compress(b"eins\nzwei\n")})
    assert list(read_lines(find(path, "x.de"))) == ["eins", "zwei"]
    check_intact(path, name=path)


def test_the_only_file_of_an_archive_need_not_be_named(archive):
    path = archive({"./c/x.de": b"eins\n", **CLUTTER})
    assert list(read_lines(path)) == ["eins"]
    path = archive(["x.de", "y.de"])
    with pytest.raises(InputError, match="an archive of x.de, y.de; say which in `files`$"):
        list(read_lines(path))


def test_an_archive_in_an_archive_and_what_is_none(archive, tmp_path):
    inner = pack(tmp_path / "inner.tar.gz", ["x.de"]).read_bytes()
    member = find(archive({"inner.tar.gz": inner}), "inner.tar.gz")
    with pytest.raises(InputError, match="inner.tar.gz: an archive in an archive: unpack it"):
        list(read_lines(member))
    for content in (b"text\n", gzip.compress(b"text\n"), b""):
        (tmp_path / "text").write_bytes(content)
        with pytest.raises(InputError, match="text: neither a .zip nor a .tar archive"):
            find(tmp_path / "text", "*.de")


def test_a_tar_of_the_oldest_kind_is_one(tmp_path):
    blocks = bytearray(pack(tmp_path / "new.tar", ["x.de", "x.en"]).read_bytes())
    for start in range(0, len(blocks), tarfile.BLOCKSIZE):
        header = blocks[start : start + tarfile.BLOCKSIZE]
        if header[257:262] == b"ustar":
            header[257:265], header[148:156] = bytes(8), b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            blocks[start : start + tarfile.BLOCKSIZE] = header
    assert b"ustar" not in blocks
    (tmp_path / "old.tar").write_bytes(blocks)
    assert find(tmp_path / "old.tar", "*.en").name == "x.en"
    with pytest.raises(InputError, match="an archive of x.de, x.en; say which in `files`$"):
        list(read_lines(tmp_path / "old.tar"))


def test_what_is_no_archive_is_called_what_it_is(tmp_path):
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c\0\4")
    with pytest.raises(InputError, match="a.7z: a .7z archive: unpack it$"):
        find(tmp_path / "a.7z", "*.de")


def test_a_truncated_archive_is_noticed_wherever_it_is_cut(archive):
    path = archive({f"{i}.de": bytes(map(hash, range(i, 256))) * 40 for i in range(9)})
    truncate(path)
    for function in (lambda: check_intact(path, name=path), lambda: list_members(path)):
        with pytest.raises(InputError, match=f"{path}: damaged or truncated"):
            function()


BLOCK = tarfile.BLOCKSIZE


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[: 2 * BLOCK], "it ends without its end mark"),
        (lambda b: b[: 4 * BLOCK], "it ends without its end mark"),
        (lambda b: b[: 2 * BLOCK + 100], "a damaged header: truncated header"),
        (lambda b: b[: 2 * BLOCK] + b"x" + b[2 * BLOCK + 1 :], "a damaged header: bad checksum"),
        (lambda b: b[: 2 * BLOCK] + bytes(BLOCK) + b[3 * BLOCK :], "it goes on after its end"),
        (lambda b: b + b, "it goes on after its end"),
    ],
)
def test_a_tar_that_is_cut_or_damaged_between_files_is_not_a_shorter_one(
    tmp_path, kind, damage, message
):
    blocks = damage(pack(tmp_path / "whole.tar", ["x.de", "y.de"]).read_bytes())
    path = tmp_path / f"a.{kind}"
    path.write_bytes(gzip.compress(blocks) if kind == "tar.gz" else blocks)
    for function in (lambda: check_intact(path, name=path), lambda: find(path, "x.de")):
        with pytest.raises(InputError) as error:
            function()
        assert str(error.value) == f"{path}: damaged or truncated: {message}"


@pytest.mark.parametrize("end", [BLOCK, 2 * BLOCK, 3000, 100 * BLOCK])
def test_the_end_of_a_tar_may_have_any_length(tmp_path, end):
    path = pack(tmp_path / "a.tar", ["x.de"])
    path.write_bytes(path.read_bytes()[: 2 * BLOCK] + bytes(end))
    check_intact(path, name=path)
    assert list(read_lines(find(path, "x.de"))) == ["x.de"]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_refused_unread(tmp_path, kind):
    path = tmp_path / "bomb.tgz"
    with gzip.open(path, "wb") as file:
        header = tarfile.TarInfo("x")
        header.type, header.size = kind, 1 << 30
        file.write(header.tobuf())
    message = f"{path}: damaged or truncated: a header of {1 << 30} bytes, over 65536"
    for function in (lambda: check_intact(path, name=path), lambda: find(path, "x")):
        with pytest.raises(InputError) as error:
            function()
        assert str(error.value) == message


def test_headers_without_end_are_refused(tmp_path, monkeypatch):
    header = tarfile.TarInfo("x")
    header.type = tarfile.XGLTYPE
    path = tmp_path / "chain.tar"
    path.write_bytes(header.tobuf() * 5000)
    with pytest.raises(InputError, match=f"{path}: damaged or truncated: "):
        list_members(path)
    monkeypatch.setattr(members, "MOST_MEMBERS", 3)
    path = pack(tmp_path / "many.tar", list("abcd"))
    with pytest.raises(InputError, match=f"{path}: an archive of more than 3 files"):
        list_members(path)


def test_the_only_file_is_found(archive):
    path = archive(["x.de"])
    assert find_only(path) == (path, "x.de")
