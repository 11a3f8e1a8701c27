import io
import json
import math
import socket
import tarfile
import threading
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
import sacrebleu
from sacrebleu.dataset import base
from sacrebleu.metrics import BLEU

from closer_look.analysis.scores import table
from closer_look.config import Run
from closer_look.jobs.job import InputError
from closer_look.jobs.manifest import read_manifest, sha256
from closer_look.vocabulary import FACETS
from scripts.analysis.scores import caption
from scripts.data import download_test_set
from scripts.training.score import (
    COLUMNS,
    bleu_and_chrf,
    find_checkpoint,
    main,
    tokenizer,
    unigram_loss,
)

CLM, MT = Run("toy", "clm", "en", "base", 1), Run("toy", "mt", "en-de", "base", 1)
SIDES = {"en": ["There is a house .", "So what?"], "de": ["Da steht ein Haus .", "Na und?"]}


# The table


def scored(*rows):
    """Return scores, given the run and some columns of each row."""
    frame = pd.DataFrame([run._asdict() | columns for run, columns in rows])
    return frame.reindex(columns=[*FACETS, *COLUMNS]).astype(COLUMNS)


def test_perplexity_is_per_token_and_per_word():
    row = dict(test_set="test", loss=math.log(8), tokens=30, words=10)
    found = table(scored((CLM, row)), [CLM]).iloc[0]
    assert found["perplexity"] == pytest.approx(8)
    assert found["perplexity per word"] == pytest.approx(8**3)
    assert math.isnan(found["masked perplexity"])


def test_the_table_has_every_run_and_test_set_in_the_order_of_the_runs():
    rows = [(MT, dict(test_set=name, bleu=20.0)) for name in ("test", "wmt18")]
    other = CLM._replace(languages="de")
    found = table(scored(*rows), [CLM, MT, other])
    assert found[FACETS].apply(tuple, axis=1).to_list() == [CLM, MT, MT, other]
    assert found["test set"].fillna("").to_list() == ["", "test", "wmt18", ""]
    assert found["BLEU"].dropna().to_list() == [20, 20]


def test_the_caption_has_the_signatures():
    assert "sacrebleu (a, b)." in caption(["a", "b"])
    assert caption([]).endswith("by sacrebleu.")


# The scores


@pytest.mark.parametrize(
    "target", ["zh", "zh_CN", "zh_cn", "zh_TW", "zh_Hant", "zh_yue", "ja", "ko"]
)
def test_bleu_knows_words_by_the_base_of_the_code(target):
    text = {"ja": "私は学生です。", "ko": "나는 학생이다."}.get(target, "我们今天去学校上课。")
    reference = text[:-1] + "！"
    found = bleu_and_chrf([text], [reference], target)
    assert found["bleu"] > 40  # 0 by blanks
    assert f"tok:{target[:2]}" in found["bleu_signature"]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("shn", "ႁၢင်ႈၽၢင်ႁၢင်ႈလီ။"),
        ("mnw", "ဘာသာမန်ကေတ်မန်။"),
        ("zhs", "我们今天去学校上课。"),
        ("ryu", "今日や学校んかい行ちゃびたん。"),
    ],
)
def test_bleu_of_any_text_without_blanks_is_not_of_whole_lines(target, text):
    found = bleu_and_chrf([text], [text[:-1] + "！"], target)
    assert found["bleu"] > 40


def test_bleu_of_other_languages_is_as_ever():
    blanks = ["Das Zeichen 水 heißt Wasser ."] * 3 + ["水"]
    assert tokenizer("de", blanks) == tokenizer("ksw", blanks) == "13a"
    assert {tokenizer(code) for code in ("de", "pt_br", "sr_latin", "simple", "kok")} == {"13a"}
    assert tokenizer("th") == "char"


def write_data(folder, suffix, **splits):
    """Write a dictionary of 4 + 3 entries and tokens as fairseq does."""
    folder.mkdir()
    (folder / f"dict{suffix}.txt").write_text("a 1\nb 1\nc 1\n")
    for name, tokens in splits.items():
        np.array(tokens, np.uint16).tofile(folder / f"{name}.bin")
    return folder


@pytest.mark.parametrize("target", [None, "de"])
def test_the_unigram_loss_is_by_the_frequencies_of_the_training_text(tmp_path, target):
    suffix, name = (f".{target}", f".en-{target}.{target}") if target else ("", "")
    splits = {f"train{name}": [4, 4, 4, 5, 2], f"test{name}": [4, 6, 2]}
    data = write_data(tmp_path / "data", suffix, **splits)
    # of 5 tokens, and one more of each of 7 entries
    expected = -(math.log(4 / 12) + math.log(1 / 12) + math.log(2 / 12)) / 3
    assert unigram_loss(data, target) == pytest.approx(expected)


def test_translations_are_scored_with_signatures():
    found = bleu_and_chrf(SIDES["de"], SIDES["de"], "de")
    assert (found["bleu"], found["chrf"]) == pytest.approx((100, 100))
    assert found["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp")
    other = ["Da steht ein Haus mit Garten .", "Na und?"]
    expected = BLEU().corpus_score(other, [SIDES["de"]]).score
    assert 0 < expected < 100
    assert bleu_and_chrf(other, SIDES["de"], "de")["bleu"] == expected


@pytest.mark.parametrize("state", ["gone", "another", "there"])
def test_a_model_that_is_gone_is_one_line_with_the_command_that_makes_it(tmp_path, state):
    checkpoint = tmp_path / "state/checkpoints/checkpoint_last.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("the model")
    manifest = tmp_path / "run.json"
    facts = {"state": str(tmp_path / "state"), "checkpoint_sha256": sha256(checkpoint)}
    manifest.write_text(json.dumps(facts))
    if state == "there":
        assert find_checkpoint(manifest) == checkpoint
        return
    checkpoint.write_text("another") if state == "another" else checkpoint.unlink()
    with pytest.raises(InputError) as error:
        find_checkpoint(manifest)
    assert f"`snakemake --forcerun train -- {manifest}` makes it again" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_without_test_text_has_an_empty_table_and_needs_no_model(tmp_path):
    path = tmp_path / "scores.parquet"
    main(CLM, [], *[tmp_path / "none"] * 3, beam=5, sentences=None, threads=1, scores=path)
    found = pd.read_parquet(path)
    assert found.empty and found.columns.to_list() == [*FACETS, *COLUMNS]


# Test sets


def archive(sides):
    """Return the archive of a test set as WMT published them, in SGML."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for kind, (language, lines) in zip(("src", "ref"), sides.items(), strict=True):
            segments = "\n".join(f'<seg id="{n}">{line}</seg>' for n, line in enumerate(lines))
            content = f'<doc docid="1" genre="news" origlang="en">\n{segments}\n</doc>\n'.encode()
            info = tarfile.TarInfo(f"test/newstest2018-ende-{kind}.{language}.sgm")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of sacrebleu: it reads $SACREBLEU once, when it is imported."""
    folder = tmp_path / "cache"
    dataset = sacrebleu.DATASETS["wmt18"]
    monkeypatch.setattr(sacrebleu, "SACREBLEU_DIR", str(folder))
    monkeypatch.setattr(base, "SACREBLEU_DIR", str(folder))
    monkeypatch.setattr(dataset, "_outdir", str(folder / "wmt18"))
    monkeypatch.setattr(dataset, "_rawdir", str(folder / "wmt18/raw"))
    return folder


@pytest.fixture
def server(monkeypatch):
    """A server of the archive of wmt18, whose `content` and `status` can be set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests.append(self.path)
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(self.server.content)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.status, server.requests = archive(SIDES), 200, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dataset = sacrebleu.DATASETS["wmt18"]
    monkeypatch.setattr(dataset, "data", [f"http://127.0.0.1:{server.server_port}/test.tgz"])
    monkeypatch.setattr(dataset, "md5", [md5(server.content).hexdigest()])
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def outputs(tmp_path):
    timeout = socket.getdefaulttimeout()
    yield {name: tmp_path / f"{name}.txt" for name in ("source", "target", "manifest")}
    socket.setdefaulttimeout(timeout)


def test_a_test_set_is_fetched_once(cache, server, outputs):
    for _ in range(2):
        download_test_set.main("wmt18", "en-de", **outputs)
    assert server.requests == ["/test.tgz"]
    assert outputs["source"].read_text().splitlines() == SIDES["en"]
    assert outputs["target"].read_text().splitlines() == SIDES["de"]
    manifest = read_manifest(outputs["manifest"])
    assert (manifest["sentences"], manifest["test_set"]) == (2, "wmt18")
    assert manifest["sha256"]["source"] == sha256(outputs["source"])


@pytest.mark.parametrize(
    ("change", "cause"),
    [({"status": 404}, "HTTP Error 404"), ({"content": archive(SIDES)[:-9]}, "wrong checksum")],
    ids=["missing", "truncated"],
)
def test_a_test_set_that_cannot_be_fetched_is_one_line(cache, server, outputs, change, cause):
    good = server.content
    vars(server).update(change)
    with pytest.raises(InputError) as error:
        download_test_set.main("wmt18", "en-de", **outputs)
    address, folder = f"http://127.0.0.1:{server.server_port}/test.tgz", cache / "wmt18"
    assert f"wmt18: sacrebleu could not fetch en-de from {address}: {cause}" in str(error.value)
    assert str(error.value).endswith(f"before another try: rm -r {folder}")
    assert not outputs["source"].exists()

    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    server.content, server.status = good, 200
    download_test_set.main("wmt18", "en-de", **outputs)
    assert outputs["source"].exists()


def test_sides_of_different_length_are_refused(cache, server, outputs, monkeypatch):
    server.content = archive(SIDES | {"de": ["Da steht ein Haus ."]})
    monkeypatch.setattr(sacrebleu.DATASETS["wmt18"], "md5", None)
    with pytest.raises(InputError, match=r"wmt18.en-de.ref: ends after line 1, .*src goes on"):
        download_test_set.main("wmt18", "en-de", **outputs)
