import pytest
import regex
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from closer_look.data.sentences import NORMALIZATION, count_letters, measure, normalised

PLAIN = sentencepiece.SentencePieceNormalizer(
    rule_name=NORMALIZATION, add_dummy_prefix=False, escape_whitespaces=False
)
VISIBLE = regex.compile(r"[^\s\p{C}\p{DI}\u2800]")
EMPTY = ["", " ", "\u200b", "\ufeff", "\ufffd", "▁", " ▁ ▁", "\x01\x02\x7f", "\0", "\x85\x90", "\t"]
EMPTY += ["\u3164", "\uffa0 \u115f", "\u2800", "\ufe0f", "\u034f", "\U000e0100", "\u180b\u180e"]
EMPTY += ["\u2060", "\xad", "\u200d\u200c", "\u3000", "\xa0\u2003", "\u200e\u200f", "\U000e0001"]


@pytest.mark.parametrize("line", EMPTY)
def test_what_nobody_and_no_model_sees_is_empty(line):
    assert normalised([line]) == [""]


@pytest.mark.parametrize(
    "spellings",
    [
        ["The final file.", "\ufeffThe final file.", "The ﬁnal ﬁle.", "The final file．"],
        ["The final file.", "The\u200b final file.", " The  final\u3000file.", "The▁final▁file."],
        ["The final file.", "Ｔｈｅ final file.\u200b", "The final file.\x07", "The\tfinal file. "],
        ["café 1/2", "cafe\u0301 1/2", "café １/２"],
        ["カタカナ", "ｶﾀｶﾅ"],
        ["か\u3099", "が"],
        ["한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"],
    ],
)
def test_spellings_of_one_sentence_are_equal(spellings):
    assert len(set(normalised(spellings))) == 1


@pytest.mark.parametrize(
    "others", [["a", "A"], ["ß", "ss"], ["ä", "a"], ["a b", "ab"], ["一", "ー"]]
)
def test_other_sentences_are_not(others):
    assert len(set(normalised(others))) == len(others)


text = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None, max_examples=500)
@given(st.lists(text | st.text(st.sampled_from("aä  .½ﬁ▁\ufffd\u200b\u0301中ก่"))))
def test_it_is_sentencepieces_own_normalisation(lines):
    for ours, its in zip(normalised(lines), PLAIN.normalize(lines), strict=True):
        assert ours == its or (ours == "" and not VISIBLE.search(its))


def test_no_character_is_taken_for_stable_that_sentencepiece_changes():
    lines = [f"a{chr(c)}a" for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    assert normalised(lines) == PLAIN.normalize(lines)


@pytest.mark.parametrize(
    ("line", "words", "characters"),
    [
        ("", 0, 0),
        ("one", 1, 0),
        ("Grüße, „Welt“ …", 3, 0),
        ("Привет, мир", 2, 0),
        ("안녕 세상", 2, 0),  # Korean has blanks
        ("xin chào", 2, 0),
        ("ሰላም፡ለዓለም፡ሁሉ።", 3, 0),
        ("ሰላም ለዓለም", 2, 0),
        ("नमस्ते दुनिया", 2, 0),
        ("我爱北京", 0, 4),
        ("我 爱 北京", 0, 4),
        ("我用 Python 3 写程序", 2, 5),
        ("2021年", 1, 1),
        ("日本語のテキスト", 0, 8),
        ("สวัสดี", 0, 4),  # two of its six are marks
        ("ສະບາຍດີ", 0, 6),
        ("ភាសាខ្មែរ", 0, 5),
        ("မြန်မာ", 0, 3),
        ("བོད་སྐད", 0, 4),
        ("The sign 水 means water.", 4, 1),
    ],
)
def test_a_line_is_measured_in_the_units_of_its_script(line, words, characters):
    assert measure(line) == (words, characters)


def test_letters_are_counted_without_blanks_and_marks():
    assert [count_letters(line) for line in ("", "a b.", "สวัสดี", "ไม่ 你")] == [0, 3, 4, 3]
