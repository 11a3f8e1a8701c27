import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closer_look.data.dropped import check_dropped
from closer_look.data.sentences import measure
from closer_look.data.text import read_lines, write_lines
from closer_look.jobs.job import InputError
from scripts.data.clean import check_alike, clean, fault, normalise, reasons


def run(tmp_path, pairs, max_words=5, max_ratio=3.0):
    """Clean the pairs; return the pairs kept and the counts."""
    paths = [tmp_path / name for name in ("s.gz", "t.gz", "clean.s.gz", "clean.t.gz")]
    for path, lines in zip(paths, zip(*pairs, strict=True), strict=False):
        with write_lines(path) as write:
            for line in lines:
                write(line)
    counts, *_ = clean(*paths, max_words, max_ratio)
    return list(zip(*map(read_lines, paths[2:]), strict=True)), counts


def test_each_fault_is_counted_once_and_the_fit_pairs_are_kept_in_order(tmp_path):
    pairs = [
        ("b", "B"),
        ("", "B"),
        ("b", " \t\u2028"),
        ("1 2 3 4 5 6", "1 2 3 4 5 6"),
        ("1 2 3 4", "1"),
        ("b", "B"),
        (" b\u00a0", "B\r"),
        ("b", "another"),
        ("1 2 3", "1"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        ("a", "A"),
    ]
    kept, counts = run(tmp_path, pairs)
    assert kept == [
        ("b", "B"),
        ("b", "another"),
        ("1 2 3", "1"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        ("a", "A"),
    ]
    assert counts == {"kept": 5, "empty": 2, "long": 1, "ratio": 1, "duplicate": 2}


def test_a_pair_is_not_mistaken_for_another_with_the_same_words(tmp_path):
    pairs = [("a b", "c"), ("a", "b c")]
    assert run(tmp_path, pairs)[0] == pairs


def test_cleaning_twice_changes_nothing(tmp_path):
    pairs = [(f"a  {i % 7}", f"b {i % 3} {'x ' * (i % 9)}") for i in range(99)]
    once, _ = run(tmp_path, pairs)
    twice, counts = run(tmp_path, once)
    assert twice == once
    assert counts["kept"] == len(once) > 20


@settings(deadline=None)
@given(st.text())
def test_normalised_lines_have_words_and_single_blanks_only(line):
    normal = normalise(line)
    assert normal.split() == line.split()
    assert normal.splitlines() in ([], [normal])
    assert normal == normal.strip()
    assert "  " not in normal


@pytest.mark.parametrize(
    ("words", "expected"),
    [((9, 1), None), ((10, 1), "ratio"), ((20, 2), "ratio"), ((251, 250), "long")],
)
def test_limits_hold_for_both_sides(words, expected):
    lines = [" ".join("x" * count) for count in words]
    for sides in (lines, lines[::-1]):
        lengths = tuple(map(measure, sides))
        assert fault(sides, lengths, max_words=250, max_ratio=9.0) == expected


def test_what_is_empty_or_equal_for_the_model_is_so_for_cleaning(tmp_path):
    empty = ["\u200b", "\ufeff", "\ufffd", "▁", "\x01\x02", " \u3000 ", "\0", "\u2060"]
    equal = [
        "The ﬁle．",
        "\ufeffThe file.",
        "The\u200bfile.",
        "The\tﬁle.",
        "The  file.",
        "The▁file.",
    ]
    pairs = [(line, "x") for line in empty] + [("x", line) for line in empty]
    kept, counts = run(tmp_path, pairs + [(line, "x") for line in equal])
    assert kept == [("The ﬁle．", "x")]  # the first, as it was written
    assert counts == {"kept": 1, "empty": 16, "long": 0, "ratio": 0, "duplicate": 5}


ENGLISH = "the quick brown fox jumps over the lazy dog and runs away"
SAME = {
    "zh": "敏捷的棕色狐狸跳过懒狗然后跑掉了。",
    "ja": "素早い茶色の狐はのろまな犬を飛び越えて逃げて行きます。",
    "th": "สุนัขจิ้งจอกสีน้ำตาลที่รวดเร็วกระโดดข้ามสุนัขที่ขี้เกียจและวิ่งหนีไป",
    "lo": "ໝາຈອກສີນ້ຳຕານທີ່ໄວໂດດຂ້າມໝາຂີ້ຄ້ານແລ້ວແລ່ນໜີໄປ",
    "km": "កញ្ជ្រោងពណ៌ត្នោតរហ័សលោតពីលើឆ្កែខ្ជិលហើយរត់ចេញទៅ",
    "my": "လျင်မြန်သောညိုညိုမြေခွေးသည်ပျင်းရိသောခွေးကိုခုန်ကျော်ပြီးထွက်ပြေးသည်",
    "bo": "ཝ་སྨུག་པོ་མགྱོགས་པོ་དེ་ཁྱི་ལེ་ལོ་ཅན་གྱི་སྟེང་མཆོང་ནས་བྲོས་སོང་།",
    "ko": "빠른 갈색 여우가 게으른 개를 뛰어넘어 도망간다",
    "am": "ፈጣን ቡናማ ቀበሮ ሰነፍ ውሻ ላይ ዘሎ ሸሸ",
}


@pytest.mark.parametrize("language", SAME)
@pytest.mark.parametrize("times", [1, 3])
def test_translations_into_scripts_without_blanks_are_kept(tmp_path, language, times):
    sides = (" ".join([ENGLISH] * times), SAME[language] * times)
    for pair in (sides, sides[::-1]):
        assert run(tmp_path, [pair], max_words=250, max_ratio=9.0)[1]["kept"] == 1


@pytest.mark.parametrize("language", ["zh", "th", "my"])
def test_limits_hold_in_characters(tmp_path, language):
    word = SAME[language]
    pairs = [(ENGLISH, word * 40), (f"{ENGLISH} " * 9, word[:1])]
    counts = run(tmp_path, pairs, max_words=250, max_ratio=9.0)[1]
    assert (counts["long"], counts["ratio"]) == (1, 1)


def test_the_lines_measured_in_characters_are_counted(tmp_path):
    for side, lines in (("s", ["one", "OK"]), ("t", ["一", "OK"])):
        with write_lines(tmp_path / side) as write:
            for line in lines:
                write(line)
    outputs = tmp_path / "cs", tmp_path / "ct"
    _, characters, _ = clean(tmp_path / "s", tmp_path / "t", *outputs, 9, 9.0)
    assert characters == {"source": 0, "target": 1}


def test_one_text_in_both_languages_is_refused_whatever_its_line_ends(tmp_path):
    with write_lines(tmp_path / "s") as source, write_lines(tmp_path / "t") as target:
        for number in range(10):
            source(f"line {number}")
            target(f"\ufeff line {number}\r" if number < 6 else f"Zeile {number}")
    outputs = tmp_path / "clean.s", tmp_path / "clean.t"
    counts, _, alike = clean(tmp_path / "s", tmp_path / "t", *outputs, 9, 9.0)
    assert (counts["kept"], alike) == (10, 6)
    check_alike("en.gz", alike, counts["kept"], 0.6)
    message = r"^en.gz: 6 of 10 pairs have the same text .* raise cleaning.max_dropped \(0.5\)$"
    with pytest.raises(InputError, match=message):
        check_alike("en.gz", alike, counts["kept"], 0.5)


def test_a_step_that_drops_most_of_its_text_is_refused_with_the_rule_and_the_way_out():
    counts = {"kept": 49, "empty": 0, "long": 1, "ratio": 30, "duplicate": 20}
    dropped = reasons(counts, max_words=250, max_ratio=9.0)
    with pytest.raises(InputError) as error:
        check_dropped("en.gz: of the pairs", dropped, 100, 0.5)
    assert str(error.value) == (
        "en.gz: of the pairs: 51 of 100 would be left out: 30 by ratio "
        "(cleaning.max_ratio: 9.0), 20 duplicate, 1 too long (cleaning.max_words: 250): more than "
        "the share cleaning.max_dropped (0.5); if that is meant, raise it to 0.51"
    )
    check_dropped("en.gz", dropped, 100, 0.51)
    check_dropped("en.gz", {"empty": 50}, 100, 0.5)
    with pytest.raises(InputError, match="100 of 100 would be left out: 100 empty: nothing would"):
        check_dropped("en.gz", {"empty": 100}, 100, 0.5)
    check_dropped("en.gz", {"empty": 100}, 100, 1)
    check_dropped("en.gz", {}, 0, 0.5)
