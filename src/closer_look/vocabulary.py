"""The words of the experiment: its parts as tables and files name them, in the paper's order."""

OBJECTIVE_NAMES = {"mlm": "Masked LM", "clm": "Causal LM", "mt": "Translation"}
OBJECTIVES = tuple(OBJECTIVE_NAMES)
"""Masked and causal language model, translation."""

ATTENTION = ("key", "query", "value", "out")
FEED_FORWARD = ("w1", "w2")
COMPONENTS = ATTENTION + FEED_FORWARD
"""The components that the paper plots."""
COMPONENT_NAMES = {name: name.capitalize() for name in COMPONENTS}

MODEL = ["corpus", "objective", "languages", "variant"]
"""The columns that make a model, which is a run whatever its seed."""
FACETS = [*MODEL, "seed"]
"""The columns that make a run."""
BLOCK = ["stack", "layer", "component"]
"""The columns that make a block."""
CELL = [*BLOCK, "head"]
"""The columns that make a head of a block; head 0 is the whole block."""

UNIT = "nats per predicted token"
"""Of losses and their changes."""
