"""Run the benches and put their tables into bench/README.md: `python -m bench`, or `make bench`.

Each bench can be run alone, with options of its own (`python -m bench.optimizer --help`).
"""

import argparse
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from closer_look.jobs.provenance import processor

README = Path(__file__).with_name("README.md")
BENCHES = ("optimizer", "gpt2", "training", "log", "figures", "data", "card")
BEGIN, END = "<!-- written by `make bench` -->\n", "<!-- end -->\n"


def main() -> None:
    """Run the benches one after the other, and show what they print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--no-readme", action="store_true", help="leave the README as it is")
    arguments = parser.parse_args()
    tables = [_machine()]
    print(tables[0], flush=True)
    for name in BENCHES:
        command = [sys.executable, "-W", "ignore", "-m", f"bench.{name}"]
        table = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
        print(f"\n{table}", flush=True)
        tables.append(table)
    if not arguments.no_readme:
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        README.write_text(
            before + BEGIN + "\n" + "\n".join(tables) + "\n" + END + after, encoding="utf-8"
        )


def _machine() -> str:
    """Return a line on what the numbers are of."""
    cores = len(os.sched_getaffinity(0))
    return f"{processor()}, {cores} cores, PyTorch {version('torch')}:\n"


if __name__ == "__main__":
    main()
