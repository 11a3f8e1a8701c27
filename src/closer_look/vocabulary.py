"""The words of the experiment: what tables, figures and claims call its parts, in the paper's order."""

OBJECTIVES = {
    "mlm": "Masked LM",
    "clm": "Causal LM",
    "mt": "Translation",
}

ATTENTION = {"key": "Key", "query": "Query", "value": "Value", "out": "Out"}
FEED_FORWARD = {"w1": "W1", "w2": "W2"}
COMPONENTS = ATTENTION | FEED_FORWARD
"""The components that the paper plots."""

RUN = ["corpus", "objective", "languages", "variant"]
"""The columns that make a run, up to its seed."""

FACETS = [*RUN, "seed"]
"""The columns that make a run."""

BLOCK = ["stack", "layer", "component"]
"""The columns that make a block."""

UNIT = "nats per predicted token"
