"""Run the benches and put their tables into bench/README.md: `python -m bench`, or `make bench`.

By default all of them; `python -m bench training gpt2` runs two, and leaves the others' tables.
Each can be run alone, too, with options of its own (`python -m bench.optimizer --help`).
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
BEGIN, END = "<!-- bench.{} -->\n", "<!-- end -->\n"


def main() -> None:
    """Run the benches one after the other, and show what they print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--no-readme", action="store_true", help="leave the README as it is")
    arguments = parser.parse_args()
    if unknown := set(arguments.benches) - set(BENCHES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    for name in arguments.benches or BENCHES:
        command = [sys.executable, "-W", "ignore", "-m", f"bench.{name}"]
        table = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
        print(f"{table}\n{_machine()}\n", flush=True)
        if table and not arguments.no_readme:
            text = README.read_text(encoding="utf-8")
            README.write_text(insert(text, name, f"{table}\n{_machine()}\n"), encoding="utf-8")


def insert(text: str, name: str, table: str) -> str:
    """Return the README with this table of a bench, in the place of its last or at the end."""
    begin = BEGIN.format(name)
    before, marker, rest = text.partition(begin)
    _, _, after = rest.partition(END)
    gap = "" if marker else "\n"
    return f"{before}{gap}{begin}\n{table}\n{END}{after}"


def _machine() -> str:
    """Return a line on what the numbers are of."""
    cores = len(os.sched_getaffinity(0))
    return f"({processor()}, {cores} cores, PyTorch {version('torch')})"


if __name__ == "__main__":
    main()
