import pytest

from closer_look.data.test_sets import has_pair, sacrebleu_pair


@pytest.mark.parametrize(
    ("languages", "pair"), [("en-zh_cn", "en-zh"), ("pt_br-en", "pt-en"), ("en-de", "en-de")]
)
def test_a_region_is_not_in_sacrebleus_names(languages, pair):
    assert sacrebleu_pair(languages) == pair


@pytest.mark.parametrize(
    ("languages", "known"),
    [("en-zh_cn", True), ("zh_cn-en", True), ("en-sv", False), ("en", False), ("en-zh_TW", False)],
)
def test_a_test_set_has_a_pair_by_opus_codes(languages, known):
    assert has_pair("wmt18", languages) is known
