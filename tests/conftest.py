import signal

import torch

# A shell has what it starts in the background ignore it, and that all which the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Several processes that each spin on all cores are many times slower than one thread each.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Run what is quick first; the order is otherwise kept."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
