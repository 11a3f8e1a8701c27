"""What LCA costs an optimizer step on a CUDA card, and how near its kernel is to the card's limit.

The parameters are those of the paper's masked language model as mixed precision has them: one
flat float32 copy. The kernel reads theta, g, m and v and writes theta, m and v, 28 bytes an
element; the limit is what a copy on the card reaches. Prints a Markdown table, or a line if there
is no card.
"""

import argparse
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

BYTES = {"LCA": 28, "copy on the device": 8}
"""That a variant has to move for each element, where it is known."""


def steps() -> tuple[int, dict[str, Callable]]:
    """Return the number of parameters, and the step of every variant."""
    from fairseq.optim.adam import Adam as FairseqAdam

    from lca import optimizers

    from .optimizer import SETTINGS, paper_model

    model = paper_model()

    def flat() -> nn.Parameter:
        parameter = nn.Parameter(
            torch.cat([p.detach().view(-1) for p in model.parameters()]).cuda()
        )
        parameter.grad = torch.randn_like(parameter) * 1e-3
        return parameter

    def attached() -> optimizers.FairseqAdam:
        optimizer = optimizers.FairseqAdam([flat()], **SETTINGS)
        optimizer.attach(model)
        return optimizer

    plain, lca = FairseqAdam([flat()], **SETTINGS), attached()
    source, target = flat().detach(), flat().detach()

    return source.numel(), {
        "fairseq's Adam": plain.step,
        "LCA": lca.step,
        "copy on the device": lambda: target.copy_(source),
    }


def milliseconds(step: Callable, repeats: int) -> float:
    """Return the median time of a step, after some that compile."""
    times = []
    for _ in range(repeats + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return median(times[3:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50, help="steps timed of each variant")
    repeats = parser.parse_args().repeats
    if not torch.cuda.is_available():
        print("No CUDA card: nothing measured.")
        return
    number, variants = steps()
    times = {name: milliseconds(step, repeats) for name, step in variants.items()}
    print(f"{torch.cuda.get_device_name()}, {number / 1e6:.0f}M parameters\n")
    print("| optimizer step on CUDA | ms | ratio | GB/s |\n|---|---|---|---|")
    base = times["fairseq's Adam"]
    for name, time in times.items():
        speed = f"{BYTES[name] * number / time / 1e6:.0f}" if name in BYTES else ""
        print(f"| {name} | {time:.3f} | {time / base:.2f} | {speed} |")


if __name__ == "__main__":
    main()
