"""Downloads from a server on this machine, which misbehaves as a test asks it to."""

import gzip
import io
import random
import ssl
import tarfile

import pytest
import requests
from urllib3.exceptions import MaxRetryError, SSLError

import opus_tree
from closer_look.data import fetch
from closer_look.data.opus import corpus_files, local_name
from closer_look.data.sources import texts, urls
from closer_look.data.text import read_lines
from closer_look.jobs.job import InputError
from http_server import Handler, serve
from opus_tree import FORMATS, ROOT, corpus, truncate, write_tree
from scripts.data.download import download

LARGE = 5 * fetch.CHUNK


@pytest.fixture
def mirror(tmp_path):
    return tmp_path / "mirror"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "folder"


@pytest.fixture
def server(mirror, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name, value in (("TIMEOUT", 0.5), ("WAIT", 0.01), ("ATTEMPTS", 4)):
        monkeypatch.setattr(fetch, name, value)
    with serve(mirror) as server:
        yield server


@pytest.fixture
def database(tmp_path, server):
    return opus_tree.write_database(tmp_path / "opus.db", server.url)


@pytest.fixture
def large(mirror):
    """A file of several chunks on the server: its path there and its content."""
    content = random.Random(1).randbytes(LARGE)
    opus_tree.write_zip(mirror / "large.zip", {"text": content})
    return "large.zip", (mirror / "large.zip").read_bytes()


def names(form):
    """Return the local names of the corpus' files, and their paths in the mirror."""
    return {local_name(path): path for path in corpus_files(corpus(form), "en", "de")}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("form", FORMATS)
def test_copies_from_a_mirror(mirror, folder, form):
    write_tree(mirror, form)
    origins = download(corpus(form), "en", "de", folder, mirror=mirror)
    assert origins == names(form)
    assert contents(folder) == {n: (mirror / path).read_bytes() for n, path in origins.items()}


def test_a_pair_whose_languages_are_out_of_order_in_a_mirror(mirror, folder):
    write_tree(mirror, "moses")
    ((name, path),) = names("moses").items()
    other = path.replace("de-en", "en-de")
    (mirror / path).rename(mirror / other)
    assert download(corpus("moses"), "en", "de", folder, mirror=mirror) == {name: other}
    assert contents(folder) == {name: (mirror / other).read_bytes()}


@pytest.mark.parametrize("form", FORMATS)
def test_names_what_a_mirror_lacks(mirror, folder, form):
    write_tree(mirror, form)
    for path in names(form).values():
        (mirror / path).rename(mirror / "away")
        with pytest.raises(InputError, match=f"{mirror / path}: no such file"):
            download(corpus(form), "en", "de", folder, mirror=mirror)
        (mirror / "away").rename(mirror / path)


@pytest.mark.parametrize("form", ["moses", "raw"])
def test_names_what_is_damaged_in_a_mirror(mirror, folder, form):
    write_tree(mirror, form)
    for path in names(form).values():
        truncate(mirror / path)
        with pytest.raises(InputError, match=f"{mirror / path}: damaged or truncated: "):
            download(corpus(form), "en", "de", folder, mirror=mirror)
        write_tree(mirror, form)
    assert not folder.exists()


def test_a_wrong_checksum_names_the_member(mirror, folder):
    opus_tree.write_moses(mirror, {"de": b"x" * 99, "en": b"y" * 99})
    path = mirror / ROOT / "moses" / "de-en.txt.zip"
    content = bytearray(path.read_bytes())
    checksum = content.index(b"Toy.de-en.en", content.index(b"PK\x01\x02")) - 46 + 16
    content[checksum] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path}: damaged: bad checksum of Toy.de-en.en"):
        download(corpus("moses"), "en", "de", folder, mirror=mirror)


@pytest.mark.parametrize("form", FORMATS)
def test_downloads_what_the_database_of_opustools_lists(mirror, folder, database, server, form):
    write_tree(mirror, form)
    origins = download(corpus(form), "en", "de", folder, database=database)
    assert origins == {name: server.url + path for name, path in names(form).items()}
    assert contents(folder) == {n: (mirror / path).read_bytes() for n, path in names(form).items()}
    assert not folder.with_name("folder.part").exists()


@pytest.mark.parametrize("fault", [500, 503, 429, "truncate", "stall"])
def test_a_server_that_comes_back(server, large, tmp_path, fault):
    name, content = large
    server.plan = [fault, fault]
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert (tmp_path / "got.zip").read_bytes() == content
    assert not (tmp_path / "partial-got.zip").exists()
    assert len(server.requests) == 3
    if fault in ("truncate", "stall"):  # the third attempt has but a quarter left to do
        assert int(server.requests[2][1].removeprefix("bytes=").rstrip("-")) > len(content) / 2


def test_a_server_that_cannot_resume(server, large, tmp_path):
    name, content = large
    server.plan, server.resume = ["truncate"], False
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert (tmp_path / "got.zip").read_bytes() == content


@pytest.mark.parametrize("fault", [500, "stall"])
def test_a_server_that_does_not_come_back(server, large, tmp_path, fault):
    server.plan = [fault] * 4
    reason = "HTTP 500 Internal Server Error" if fault == 500 else ".*Read timed out"
    with pytest.raises(InputError, match=f"^{server.url}large.zip: {reason}") as error:
        fetch.fetch(server.url + "large.zip", tmp_path / "got.zip")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "got.zip").exists()


def test_a_later_call_goes_on(server, large, tmp_path):
    name, content = large
    server.plan = ["truncate"] * 4
    with pytest.raises(InputError):
        fetch.fetch(server.url + name, tmp_path / "got.zip")
    have = (tmp_path / "partial-got.zip").stat().st_size
    assert have > len(content) / 2
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert server.requests[-1][1] == f"bytes={have}-"
    assert (tmp_path / "got.zip").read_bytes() == content


def interrupt(server, name, path, share=None):
    """Let a download of a file end early, or after `share` bytes."""
    server.plan = ["truncate"] * fetch.ATTEMPTS
    with pytest.raises(InputError):
        fetch.fetch(server.url + name, path)
    if share is not None:
        part = path.with_name(f"partial-{path.name}")
        part.write_bytes((part.read_bytes() * 99)[:share])
    server.requests.clear()


@pytest.mark.parametrize("headers", [None, {"Content-Range": None}, {"Content-Range": "bytes */*"}])
def test_what_was_complete_when_it_was_killed_is_not_fetched_again(
    server, large, tmp_path, headers
):
    name, content = large
    interrupt(server, name, tmp_path / "got.zip")
    (tmp_path / "partial-got.zip").write_bytes(content)
    server.plan = [headers]
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert (tmp_path / "got.zip").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir() if "got" in path.name] == ["got.zip"]
    assert server.requests == [(f"/OPUS-{name}", f"bytes={len(content)}-")]


@pytest.mark.parametrize("extra", [1, 5000])
def test_more_than_the_file_has_is_no_complete_file(server, large, tmp_path, extra):
    name, content = large
    interrupt(server, name, tmp_path / "got.zip")
    (tmp_path / "partial-got.zip").write_bytes(content + b"?" * extra)
    server.plan = [{"Content-Range": f"bytes */{len(content)}"}]
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert (tmp_path / "got.zip").read_bytes() == content


@pytest.mark.parametrize("careless", [False, True])
@pytest.mark.parametrize("suffix", ["zip", "txt"])
def test_a_file_that_changed_meanwhile_is_no_mixture(mirror, server, tmp_path, suffix, careless):
    """Even a server that gives the rest of another file says which it is; text has no checksum."""
    mirror.mkdir()
    one, other = (random.Random(seed).randbytes(LARGE).hex().encode() for seed in (1, 2))
    name = f"file.{suffix}"
    for content in (one, other):
        (mirror / name).write_bytes(content)
        if suffix == "zip":
            opus_tree.write_zip(mirror / name, {"text": content})
        if content is one:
            interrupt(server, name, tmp_path / "got")
    server.plan, server.careless = [], careless
    fetch.fetch(server.url + name, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == (mirror / name).read_bytes()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": None},
        {"Content-Range": "bytes 0-9/10"},
        {"Content-Range": "bytes 7-99/100"},
        {"Content-Range": "rubbish"},
        {"ETag": '"another"'},
        {"ETag": None, "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ],
)
def test_a_rest_that_does_not_fit_is_not_appended(server, large, tmp_path, headers):
    name, content = large
    interrupt(server, name, tmp_path / "got.zip")
    server.plan = [headers]
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert (tmp_path / "got.zip").read_bytes() == content
    assert [asked is None for _, asked in server.requests] == [False, True]


@pytest.mark.parametrize("headers", [{"ETag": None}, {"ETag": 'W/"weak"'}])
def test_without_a_way_to_tell_whether_a_file_is_the_same_it_is_fetched_anew(
    server, large, tmp_path, headers
):
    name, content = large
    (tmp_path / "partial-got.zip").write_bytes(b"?" * fetch.CHUNK)
    server.plan = [headers | {"Content-Length": str(len(content) + 1)}]
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert (tmp_path / "got.zip").read_bytes() == content
    assert [asked for _, asked in server.requests] == [None, None]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/y"])
def test_a_way_out_of_the_web_is_refused_at_once(server, large, tmp_path, url):
    server.plan = [url] * 9
    message = f"^{server.url}large.zip: leads to an address that is not of the web: .*{url}"
    with pytest.raises(InputError, match=message):
        fetch.fetch(server.url + "large.zip", tmp_path / "got.zip")
    assert len(server.requests) == 1
    assert list(tmp_path.glob("*got*")) == []


def test_a_way_round_in_circles_is_refused_at_once(server, large, tmp_path):
    server.plan = [f"{server.url}large.zip"] * 99
    with pytest.raises(InputError, match="large.zip: Exceeded 30 redirects"):
        fetch.fetch(server.url + "large.zip", tmp_path / "got.zip")
    assert len(server.requests) == 31


@pytest.mark.parametrize("url", ["http://.x..y/z", f"http://{'a' * 64}.org/z"])
def test_a_host_that_cannot_be_is_refused_at_once(server, large, tmp_path, url):
    server.plan = [url]
    with pytest.raises(InputError, match="^http.*large.zip: Failed to parse: .* label empty or"):
        fetch.fetch(server.url + "large.zip", tmp_path / "got.zip")
    with pytest.raises(InputError, match="^http.*z: .* label"):
        fetch.remote_size(url)


@pytest.mark.parametrize("status", [204, 300, 304])
def test_an_answer_without_a_file_is_no_file(server, large, tmp_path, monkeypatch, status):
    def answer(handler):
        handler.answer(status, {"Content-Length": "0"})

    monkeypatch.setattr(Handler, "do_GET", answer)
    with pytest.raises(InputError, match=f"the server answers HTTP {status} .* instead of a file"):
        fetch.fetch(server.url + "large.zip", tmp_path / "got.zip")
    assert list(tmp_path.glob("*got*")) == []


@pytest.mark.parametrize(("content", "what"), [(b"", "is empty"), (b"<html>\n", "a web page")])
def test_a_page_or_nothing_is_no_corpus(server, mirror, large, tmp_path, content, what):
    (mirror / "large.zip").write_bytes(content)
    with pytest.raises(InputError, match=f"^{server.url}large.zip: {what}"):
        fetch.fetch(server.url + "large.zip", tmp_path / "got")
    assert list(tmp_path.glob("*got*")) == []


def test_a_certificate_that_is_not_trusted_is_final_and_named():
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed")
    wrapped = MaxRetryError(None, "/x", SSLError(cause))
    error = requests.exceptions.SSLError(wrapped)
    assert fetch.is_final(error)
    assert fetch.reason(error).endswith("certificate verify failed: self-signed")
    broken = requests.exceptions.SSLError(MaxRetryError(None, "/x", SSLError(ssl.SSLEOFError())))
    assert not fetch.is_final(broken)


def test_an_endless_file_ends(server, large, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "LARGEST_UNSAID", 1 << 20)
    server.plan = ["endless"]
    message = "large.zip: does not end: 0.0 GB have come of a file whose size the server does not"
    with pytest.raises(InputError, match=message):
        fetch.fetch(server.url + "large.zip", tmp_path / "got.zip")
    assert len(server.requests) == 1
    assert list(tmp_path.glob("*got*")) == []


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(server, large, tmp_path):
    server.plan = [{"Content-Length": str(1 << 60)}]
    with pytest.raises(InputError, match="large.zip: has 1152921504.6 GB, but only .* are free"):
        fetch.fetch(server.url + "large.zip", tmp_path / "got.zip")


@pytest.mark.parametrize("suffix", [".txt", ".gz", ".tgz"])
def test_what_is_sent_compressed_is_kept_as_it_comes(mirror, server, tmp_path, suffix):
    """A small file that decompresses to a disk's size would otherwise do so while it comes."""
    mirror.mkdir()
    content = gzip.compress(b"one\n" * 100_000)
    (mirror / f"bomb{suffix}").write_bytes(content)
    server.plan = [{"Content-Encoding": "gzip"}]
    fetch.fetch(f"{server.url}bomb{suffix}", tmp_path / f"got{suffix}")
    assert (tmp_path / f"got{suffix}").read_bytes() == content
    assert sum(1 for _ in read_lines(tmp_path / f"got{suffix}")) == 100_000


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_an_encoding_that_nobody_asked_for_is_refused(server, large, tmp_path, encoding):
    server.plan = [{"Content-Encoding": encoding}]
    message = f"large.zip: is sent with the encoding {encoding}, which is not supported"
    with pytest.raises(InputError, match=message):
        fetch.fetch(server.url + "large.zip", tmp_path / "got.zip")


def test_a_file_that_the_server_lacks_is_asked_for_once(mirror, folder, database, server):
    write_tree(mirror, "raw")
    (mirror / ROOT / "raw" / "en.zip").unlink()
    with pytest.raises(InputError, match=f"^{server.url}{ROOT}/raw/en.zip: HTTP 404"):
        download(corpus("raw"), "en", "de", folder, database=database)
    assert len(server.requests) == 3
    assert not folder.exists()


def test_of_several_files_those_that_have_arrived_are_kept(mirror, folder, database, server):
    write_tree(mirror, "raw")
    server.plan = [None, 404]
    with pytest.raises(InputError, match="HTTP 404"):
        download(corpus("raw"), "en", "de", folder, database=database)
    download(corpus("raw"), "en", "de", folder, database=database)
    assert contents(folder) == {n: (mirror / p).read_bytes() for n, p in names("raw").items()}
    assert len(server.requests) == 2 + 2


def test_a_file_that_is_truncated_on_the_server(mirror, folder, database, server):
    write_tree(mirror, "moses")
    truncate(mirror / ROOT / "moses" / "de-en.txt.zip")
    message = f"^{server.url}{ROOT}/moses/de-en.txt.zip: damaged or truncated"
    with pytest.raises(InputError, match=message):
        download(corpus("moses"), "en", "de", folder, database=database)
    assert not folder.exists()


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))


def test_parts_from_anywhere(mirror, folder, server):
    """Archives, and pairs of files; each URL once, by a name that holds all of it."""
    write_tar(mirror / "a/de-en.tgz", {"x.de": b"eins\n", "x.en": b"one\n"})
    for language in ("de", "en"):
        (mirror / f"x.{language}").write_bytes(b"\n")
    parts = [{"url": f"{server.url}a/de-en.tgz", "files": "x.{language}"}]
    parts += [{"url": f"{server.url}x.{{language}}"}]
    origins = download({"source": "url", "parts": parts}, "en", "de", folder)
    assert sorted(origins.values()) == [server.url + n for n in ("a/de-en.tgz", "x.de", "x.en")]
    assert {name: path.removeprefix(server.url) for name, path in origins.items()} == {
        f"127.0.0.1:{server.server_port}_OPUS-{n.replace('/', '_')}": n
        for n in ("a/de-en.tgz", "x.de", "x.en")
    }
    assert set(contents(folder)) == set(origins)


def test_a_password_is_in_no_name_and_no_message(mirror, folder, server, capsys):
    mirror.mkdir()
    for language in ("de", "en"):
        (mirror / f"x.{language}").write_bytes(b"x\n")
    secret = server.url.replace("://", "://me:p@ss@")
    entry = {"source": "url", "parts": [{"url": f"{secret}x.{{language}}"}]}
    server.plan = [500]
    assert "ss@" not in "".join(download(entry, "en", "de", folder))
    assert "trying again" in (said := capsys.readouterr().out) and "ss@" not in said
    server.plan = [404]
    with pytest.raises(InputError, match=f"^{server.url}gone: HTTP 404"):
        fetch.fetch(f"{secret}gone", folder / "gone")


def test_an_archive_of_each_language_with_files_of_one_name(mirror, folder, server):
    for language, line in (("de", b"eins\n"), ("en", b"one\n")):
        write_tar(mirror / f"{language}.tgz", {"train.txt": line})
    part = {"url": f"{server.url}{{language}}.tgz", "files": "train.txt"}
    entry = {"source": "url", "parts": [part]}
    download(entry, "en", "de", folder)
    ((first, second),) = texts(entry, "en", "de", folder)
    assert (list(read_lines(first)), list(read_lines(second))) == (["one"], ["eins"])


def test_urls_that_look_alike_keep_a_file_each(mirror, folder, server):
    names = ["a/b.{language}", "a_b.{language}", "b.{language}?download=1", "b.{language}?v=2"]
    names += [f"long.{{language}}?signature={'x' * 300}"]
    for language in ("de", "en"):
        for name in names:
            path = mirror / name.format(language=language).partition("?")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path}\n", encoding="utf-8")
    entry = {"source": "url", "parts": [{"url": server.url + name} for name in names]}
    origins = download(entry, "en", "de", folder)
    assert len(origins) == len(set(origins.values())) == 2 * len(names)
    assert set(contents(folder)) == set(origins) == set(urls(entry, "en", "de"))
    for name, sides in zip(names, texts(entry, "en", "de", folder), strict=True):
        for language, side in zip(("en", "de"), sides, strict=True):
            path = mirror / name.format(language=language).partition("?")[0]
            assert list(read_lines(side)) == [str(path)]
    assert f"127.0.0.1:{server.server_port}_OPUS-b.de?v=2" in origins  # as ever where it is clear


def test_an_archive_at_a_url_with_a_query(mirror, folder, server):
    write_tar(mirror / "corpus.tgz", {"./c/x.de": b"eins\n", "./c/x.en": b"one\n"})
    opus_tree.write_zip(
        mirror / "content", {"x.de": b"zwei\n", "__MACOSX/._x.de": b"\0", "x.en": b"two\n"}
    )
    parts = [
        {"url": f"{server.url}corpus.tgz?download=1", "files": "c/x.{language}"},
        {"url": f"{server.url}content?id=corpus.zip", "files": "*.{language}"},
    ]
    entry = {"source": "url", "parts": parts}
    download(entry, "en", "de", folder)
    found = [[list(read_lines(t)) for t in sides] for sides in texts(entry, "en", "de", folder)]
    assert found == [[["one"], ["eins"]], [["two"], ["zwei"]]]


def test_a_truncated_archive_at_a_url_with_a_query(mirror, folder, server):
    write_tar(mirror / "corpus.tgz", {"x.de": random.Random(1).randbytes(9999), "x.en": b"one\n"})
    truncate(mirror / "corpus.tgz")
    url = f"{server.url}corpus.tgz?download=1"
    entry = {"source": "url", "parts": [{"url": url, "files": "x.{language}"}]}
    with pytest.raises(InputError, match="corpus.tgz.download=1: damaged or truncated"):
        download(entry, "en", "de", folder)
