"""What files of YAML and JSON hold."""

from typing import Any

Tree = dict[str, Any]
"""Values by their keys, nested: the configuration or a part of it, a schema, a manifest."""
