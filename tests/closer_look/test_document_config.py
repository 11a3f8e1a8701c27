import yaml

from closer_look.document_config import ROOT, SCHEMA, reference


def test_the_reference_is_that_of_the_schema():
    """If not: run python -m closer_look.document_config."""
    expected = reference(yaml.safe_load(SCHEMA.read_text()))
    assert (ROOT / "config/README.md").read_text() == expected


def test_every_key_is_explained():
    schema = yaml.safe_load(SCHEMA.read_text())
    objects = [schema, *schema["$defs"].values(), *schema["properties"].values()]
    for definition in objects:
        for key, entry in definition.get("properties", {}).items():
            assert entry.get("description"), key
