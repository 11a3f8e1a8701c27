"""The configuration that is shipped, its schema, and changes to it."""

import copy
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
PAPER = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def merged(base, changes):
    """As Snakemake merges a --configfile: mappings key by key, all else replaced."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        is_mapping = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if is_mapping else value
    return result
