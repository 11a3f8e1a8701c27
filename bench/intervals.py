"""How often a 95 % interval of a sum over a training holds the truth, by simulation.

The series have a known trend and noise of known making (see tests/support/series.py), whose sum
scatters by a given part of the loss change. Prints a Markdown table: the share of intervals that
hold the truth, 0.95 if they are right, and in parentheses the standard error, as its mean square
over the series, relative to the true one.
"""

import argparse

from tests.support.series import NOISES, TRENDS, coverage


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, nargs="+", default=[200, 3000, 125_000])
    parser.add_argument("--scatter", type=float, nargs="+", default=[0.01, 0.03])
    parser.add_argument("--repetitions", type=int, default=1000, help="series of each kind")
    arguments = parser.parse_args()
    print(f"| updates | trend | scatter | {' | '.join(NOISES)} |")
    print("|---" * (3 + len(NOISES)) + "|")
    for updates in arguments.updates:
        for of_trend in TRENDS:
            for scatter in arguments.scatter:
                coverages = [
                    coverage(updates, of_trend, of_noise, scatter, arguments.repetitions)
                    for of_noise in NOISES
                ]
                cells = " | ".join(f"{held:.3f} ({ratio:.2f})" for held, ratio in coverages)
                print(f"| {updates:,} | {of_trend} | {scatter:.0%} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
