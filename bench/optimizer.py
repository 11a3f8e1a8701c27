"""What LCA costs an optimizer step, on the CPU: time and memory against fairseq's Adam.

The parameters are those of the paper's masked language model (12 layers, width 512, 32,000 pieces),
with random gradients. The variants take turns, so that a machine that slows down slows all of them;
their peak memory is that of a process of their own. Prints a Markdown table.
"""

import argparse
import resource
import subprocess
import sys
import time
from statistics import median

import torch
from torch import nn

SETTINGS = dict(lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01)


def paper_model() -> nn.Module:
    """Return RoBERTa in the paper's size, with a random gradient on every parameter."""
    from tests.support import toys

    sizes = dict(layers=12, embed_dim=512, ffn_embed_dim=2048, attention_heads=8)
    options = {f"encoder_{name}": value for name, value in sizes.items()}
    model = toys.model("mlm", vocabulary=32000, **options)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    return model


def plain(model: nn.Module):
    """Return the step of fairseq's Adam."""
    from fairseq.optim.adam import Adam

    return Adam(model.parameters(), **SETTINGS).step


def attached(model: nn.Module):
    """Return our Adam, allocating to every block, head and statistic."""
    from lca.optimizers import FairseqAdam

    optimizer = FairseqAdam(model.parameters(), **SETTINGS)
    optimizer.attach(model)
    return optimizer


def lca(model: nn.Module):
    """Return the step of our Adam: own and next batch."""
    return attached(model).step


def naive(model: nn.Module):
    """Return fairseq's step with what one would write first: own-batch sums per tensor."""
    step = plain(model)

    def with_clones():
        before = [parameter.detach().clone() for parameter in model.parameters()]
        step()
        for old, parameter in zip(before, model.parameters(), strict=True):
            ((parameter.detach() - old) * parameter.grad).sum().item()

    return with_clones


VARIANTS = {
    "fairseq's Adam": plain,
    "LCA": lca,
    "fairseq's Adam, clone and dot": naive,
}


def times(repeats: int) -> dict[str, float]:
    """Return the median seconds of a step of every variant."""
    steps = {name: make(paper_model()) for name, make in VARIANTS.items()}
    times = {name: [] for name in steps}
    for repeat in range(repeats + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat >= 2:  # the first make the moments and compile
                times[name].append(time.perf_counter() - start)
    return {name: median(seconds) for name, seconds in times.items()}


def peak_memory(name: str) -> int:
    """Return the peak memory in bytes of a process that makes three steps."""
    result = subprocess.run(
        [sys.executable, "-m", "bench.optimizer", "--peak", name], capture_output=True
    )
    return int(result.stdout)


def main() -> None:
    """Print the table, or with `--peak` the peak memory of this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="steps timed of each variant")
    parser.add_argument("--peak", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        step = VARIANTS[arguments.peak](paper_model())
        for _ in range(3):
            step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    # Memory first: a process starts with the peak of the one that it was forked from.
    memory = {name: peak_memory(name) for name in VARIANTS}
    seconds = times(arguments.repeats)
    base, size = "fairseq's Adam", sum(p.numel() for p in paper_model().parameters())
    print(
        f"{size / 1e6:.0f}M parameters ({size * 4e-6:.0f} MB), {torch.get_num_threads()} threads\n"
    )
    print("| optimizer step on the CPU | seconds | ratio | peak memory beyond it, MB |")
    print("|---|---|---|---|")
    for name in VARIANTS:
        ratio, extra = seconds[name] / seconds[base], (memory[name] - memory[base]) / 1e6
        print(f"| {name} | {seconds[name]:.3f} | {ratio:.2f} | {extra:+.0f} |")


if __name__ == "__main__":
    main()
