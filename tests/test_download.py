import sqlite3
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

import opus_tree
from download import download
from job import InputError
from opus import corpus_files, local_name
from opus_tree import FORMATS, NAME, ROOT, VERSION, corpus, truncate, write_tree


class Handler(SimpleHTTPRequestHandler):
    """Serves a mirror as OPUS does, at /OPUS-CORPUS/...; can promise more bytes than it sends."""

    excess = 0

    def translate_path(self, path):
        return super().translate_path(path.replace("/OPUS-", "/"))

    def send_header(self, keyword, value):
        if keyword == "Content-Length":
            value = str(int(value) + self.excess)
        super().send_header(keyword, value)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path):
    return tmp_path / "mirror"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "folder"


@pytest.fixture
def url(mirror, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=mirror))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/OPUS-"
    server.shutdown()
    server.server_close()


@pytest.fixture
def database(tmp_path, url):
    """A list of the corpus' files with the URLs of the local server."""
    rows = [("de", "en", "moses", "moses/de-en.txt.zip"), ("de", "en", "xml", "xml/de-en.xml.gz")]
    for form in ("raw", "xml"):
        rows += [(language, "", form, f"{form}/{language}.zip") for language in ("de", "en")]
    path = tmp_path / "opus.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE opusfile (id integer PRIMARY KEY, source text, target text, corpus text,"
            " preprocessing text, version text, url text, size integer, documents integer,"
            " alignment_pairs integer, source_tokens integer, target_tokens integer, latest text,"
            " updated integer)"
        )
        connection.executemany(
            "INSERT INTO opusfile (source, target, corpus, preprocessing, version, url, size,"
            f" latest) VALUES (?, ?, '{NAME}', ?, '{VERSION}', '{url}{ROOT}/' || ?, 1, 'True')",
            rows,
        )
    connection.close()
    return path


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
def test_downloads_with_opus_get(mirror, folder, database, url, form):
    write_tree(mirror, form)
    origins = download(corpus(form), "en", "de", folder, database=database)
    assert origins == {name: url + path for name, path in names(form).items()}
    assert contents(folder) == {n: (mirror / path).read_bytes() for n, path in names(form).items()}


def test_a_file_that_the_server_lacks(mirror, folder, database, url):
    write_tree(mirror, "raw")
    (mirror / ROOT / "raw" / "en.zip").unlink()
    with pytest.raises(InputError, match=f"^{url}{ROOT}/raw/en.zip: HTTP Error 404"):
        download(corpus("raw"), "en", "de", folder, database=database)


def test_a_file_that_is_truncated_on_the_server(mirror, folder, database, url):
    write_tree(mirror, "moses")
    truncate(mirror / ROOT / "moses" / "de-en.txt.zip")
    with pytest.raises(InputError, match=f"^{url}{ROOT}/moses/de-en.txt.zip: damaged or truncated"):
        download(corpus("moses"), "en", "de", folder, database=database)


def test_a_connection_that_breaks(mirror, folder, database, url, monkeypatch):
    write_tree(mirror, "raw")
    monkeypatch.setattr(Handler, "excess", 1)  # the whole of the first file arrives, and no other
    with pytest.raises(InputError, match=f"^{url}{ROOT}/raw/de.zip: .*retrieval incomplete"):
        download(corpus("raw"), "en", "de", folder, database=database)


def test_a_corpus_that_opus_lacks(folder):
    missing = {"source": "opus", "name": "NoSuchCorpus", "version": "v1", "format": "moses"}
    with pytest.raises(InputError, match="^NoSuchCorpus/v1/moses/de-en.txt.zip: not among"):
        download(missing, "en", "de", folder)


def test_a_missing_database_is_not_replaced(folder, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path / 'none.db'}: no such OpusTools database"):
        download(corpus("moses"), "en", "de", folder, database=tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_source_that_cannot_be_fetched(tmp_path):
    with pytest.raises(InputError, match="source 'mtdata' cannot be fetched"):
        download({"source": "mtdata", "parts": ["x"]}, "en", "de", tmp_path)
