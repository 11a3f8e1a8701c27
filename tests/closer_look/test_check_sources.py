from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest

import opus_tree
from closer_look.data import check_sources
from closer_look.data.check_sources import Need, check
from closer_look.data.opus_database import find, open_database
from closer_look.jobs.job import InputError
from opus_tree import FORMATS, write_tree

SIZES = {"valid": 1, "test": 1}
EUROPARL = {"name": "Europarl", "version": "v8"}


@pytest.fixture
def database(tmp_path):
    return opus_tree.write_database(tmp_path / "opus.db", "http://nowhere/OPUS-", size=1000)


@pytest.fixture
def disk(monkeypatch):
    """A disk with 100 MB left; setting `free` changes that."""
    usage = SimpleNamespace(free=100_000_000)
    monkeypatch.setattr(check_sources.shutil, "disk_usage", lambda path: usage)
    return usage


def opus(form="moses", source="en", target="de", **changes):
    return Need("toy", opus_tree.corpus(form) | SIZES | changes, source, target)


def local(folder, **changes):
    entry = {"source": "local", "files": f"{folder}/text.{{language}}"}
    return Need("mine", entry | SIZES | changes, "en", "de")


def refusal(tmp_path, *needs, mirror=None, database=None):
    with pytest.raises(InputError) as error:
        check(needs, mirror, database, tmp_path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("form", FORMATS)
def test_what_opus_has_is_accepted(tmp_path, database, form):
    check([opus(form)], None, database, tmp_path)


@pytest.mark.parametrize(
    ("need", "message"),
    [
        (opus(name="Tooy"), "OPUS has no corpus 'Tooy'; the nearest are Toy"),
        (opus(name="toy"), "OPUS has no corpus 'toy'; the nearest are Toy"),
        (opus(name="Elephant"), "OPUS has no corpus 'Elephant'"),
        (opus(version="v2"), "OPUS has no version 'v2' of Toy; it has v1"),
        (opus(target="fi"), "OPUS has no en-fi in Toy v1; it has en with de"),
        (opus(source="fi"), "OPUS has no de-fi in Toy v1; it has de with en"),
        (opus(source="et", target="fi"), "OPUS has no et-fi in Toy v1, nor either language"),
    ],
)
def test_what_opus_lacks_is_refused_with_what_it_has(tmp_path, database, need, message):
    assert refusal(tmp_path, need, database=database) == f"corpora.toy: {message}"


def test_a_format_that_opus_lacks(tmp_path, database):
    with opus_tree.connect(database) as connection:
        connection.execute("DELETE FROM opusfile WHERE preprocessing = 'raw'")
    message = "corpora.toy: OPUS has Toy v1 de-en as moses, xml, not raw"
    assert refusal(tmp_path, opus("raw"), database=database) == message


def test_the_database_that_comes_with_opustools():
    with open_database(None) as database:
        (file,) = find(database, opus_tree.corpus("moses") | EUROPARL, "en", "et").values()
        assert file.url.endswith("/OPUS-Europarl/v8/moses/en-et.txt.zip")
        assert file.pairs == 651_236
        assert 50e6 < file.bytes < 100e6
        with pytest.raises(InputError, match="no corpus 'Europarll'; the nearest are Europarl"):
            find(database, opus_tree.corpus("xml") | {"name": "Europarll"}, "en", "et")


def test_a_pair_whose_languages_are_listed_out_of_order():
    """A dozen of OPUS's pairs; OpusTools itself looks for the others only."""
    corpus = opus_tree.corpus("moses") | {"name": "StanfordNLP-NMT", "version": "v1.0"}
    with open_database(None) as database:
        (found,) = find(database, corpus, "de", "en").items()
        assert found[0] == "StanfordNLP-NMT/v1.0/moses/de-en.txt.zip"
        assert found[1].url.endswith("/OPUS-StanfordNLP-NMT/v1.0/moses/en-de.txt.zip")
        assert found[1].pairs == 4_468_841


def test_a_missing_database_is_not_replaced(tmp_path):
    message = f"{tmp_path}/none.db: no such OpusTools database"
    assert refusal(tmp_path, opus(), database=tmp_path / "none.db") == message
    assert not (tmp_path / "none.db").exists()


def test_a_mirror_is_looked_into_instead(tmp_path, disk):
    write_tree(tmp_path, "raw")
    check([opus("raw")], str(tmp_path), None, tmp_path)
    path = tmp_path / opus_tree.ROOT / "raw/en.zip"
    path.unlink()
    message = f"corpora.toy: {path}: no such file"
    assert refusal(tmp_path, opus("raw"), mirror=str(tmp_path)) == message


def test_held_out_sets_that_leave_nothing_to_train_on(tmp_path, database):
    message = "corpora.toy: `valid` (2) and `test` (3) take all of the 5 pairs of en-de"
    assert refusal(tmp_path, opus(valid=2, test=3), database=database) == message
    check([opus(valid=2, test=2)], None, database, tmp_path)


def test_the_room_for_all_together(tmp_path, database, disk):
    """Each pair is 1 MB as moses, and 3 files of 1 MB as raw."""
    disk.free = 2 * 8 * 1_024_000
    check([opus()] * 2, None, database, tmp_path)
    disk.free -= 1
    assert "are free" in refusal(tmp_path, *[opus()] * 2, database=database)
    disk.free = 100_000_000
    message = f"{tmp_path}: 0.1 GB are free, but what is to be fetched and made of it takes about"
    assert refusal(tmp_path, *[opus("raw")] * 10, database=database) == f"{message} 0.2 GB"


def write_sides(folder, **sides):
    for language, content in sides.items():
        (folder / f"text.{language}").write_bytes(content)


def test_local_text(tmp_path, disk):
    write_sides(tmp_path, en=b"one\ntwo\nthree\n", de=b"eins\nzwei\ndrei\n")
    check([local(tmp_path)], None, None, tmp_path)
    assert "take all of the 3 pairs" in refusal(tmp_path, local(tmp_path, valid=2))
    disk.free = 50
    assert refusal(tmp_path, local(tmp_path)).startswith(f"{tmp_path}: 0.0 GB are free")


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({"en": b"one\n"}, "text.de: no such file or directory"),
        ({"en": b"one\n", "de": b"eins\nzwei\n"}, "text.en: ends after line 1, "),
        ({"en": b"one\n", "de": b"f\xfcnf\n"}, "text.de: line 1: not UTF-8"),
    ],
)
def test_local_text_that_will_not_do(tmp_path, sides, message):
    write_sides(tmp_path, **sides)
    assert refusal(tmp_path, local(tmp_path)).startswith(f"corpora.mine: {tmp_path}/{message}")


class Handler(SimpleHTTPRequestHandler):
    """Says of every file but one that it has 1,000 bytes; may not answer."""

    def do_HEAD(self):
        if self.path == "/gone":
            return self.send_error(404)
        if self.path == "/busy":
            return self.send_error(503)
        if self.path.startswith("/no-head"):
            return self.send_error(405 if self.command == "HEAD" else int(self.path[-3:]))
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            return self.end_headers()
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *args):
        pass


@pytest.fixture
def url(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def parts(*urls):
    entry = {"source": "url", "parts": [{"url": url, "files": "{language}"} for url in urls]}
    return Need("web", entry | SIZES, "en", "de")


def test_servers_are_asked_for_the_size(tmp_path, url, disk):
    disk.free = 16_000
    check([parts(url + "a", url + "b")], None, None, tmp_path)
    disk.free = 15_999
    assert "are free" in refusal(tmp_path, parts(url + "a", url + "b"))


def test_a_file_that_a_server_lacks(tmp_path, url):
    message = f"corpora.web: {url}gone: HTTP 404 Not Found"
    assert refusal(tmp_path, parts(url + "a", url + "gone")) == message


def test_a_server_that_does_not_answer_now_may_do_so_later(tmp_path, url):
    check([parts(url + "busy", "http://127.0.0.1:1/x")], None, None, tmp_path)


def test_what_answers_no_head_is_asked_otherwise(tmp_path, url):
    check([parts(url + "no-head/503")], None, None, tmp_path)
    message = f"corpora.web: {url}no-head/403: HTTP 403 Forbidden"
    assert refusal(tmp_path, parts(url + "no-head/403")) == message


def test_a_server_that_leads_out_of_the_web(tmp_path, url):
    message = f"corpora.web: {url}away: leads to an address that is not of the web: "
    assert refusal(tmp_path, parts(url + "away")).startswith(message)
