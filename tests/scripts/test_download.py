"""Downloads from a server on this machine, which misbehaves as a test asks it to."""

import io
import random
import tarfile

import pytest

import opus_tree
from closer_look.data import fetch
from closer_look.data.opus import corpus_files, local_name
from closer_look.jobs.job import InputError
from http_server import serve
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


def test_what_was_complete_when_it_was_killed_is_not_fetched_again(server, large, tmp_path):
    name, content = large
    (tmp_path / "partial-got.zip").write_bytes(content)
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert (tmp_path / "got.zip").read_bytes() == content


def test_a_rest_of_another_file_is_found_out_and_forgotten(server, large, tmp_path):
    name, content = large
    (tmp_path / "partial-got.zip").write_bytes(b"?" * fetch.CHUNK)
    with pytest.raises(InputError, match=f"^{server.url}{name}: damaged"):
        fetch.fetch(server.url + name, tmp_path / "got.zip")
    fetch.fetch(server.url + name, tmp_path / "got.zip")
    assert (tmp_path / "got.zip").read_bytes() == content


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
