"""The figures and tables that rules register: their files, and where they are shown."""

from collections.abc import Callable

from .inputs import Inputs, Wildcards

BEYOND = "Beyond the paper"
"""The category of what the paper does not have."""


class Exhibits:
    """What is drawn under a configuration, as the rules register it.

    `report` marks a file as part of Snakemake's report; it is Snakemake's own function.
    """

    def __init__(self, inputs: Inputs, report: Callable[..., str]) -> None:
        self._inputs, self._report = inputs, report
        self.names: list[str] = []
        """Of all that there is something to draw of."""
        self.paths: list[str] = []
        """The files that show them, a figure by another estimator besides."""

    def figure(
        self,
        name: str,
        shows: str,
        category: str = BEYOND,
        by_estimator: bool = True,
        when: object = True,
    ) -> dict[str, str]:
        """Return the outputs of a figure's rule.

        It becomes part of `figures` (if there is something to draw: `when`), of the page and of
        Snakemake's report, with the caption in report/NAME.rst. Its file NAME.ESTIMATOR is NAME by
        another estimator than the configuration's, if it is `by_estimator`.
        """
        path = self._register(name, "figures", by_estimator, "png", when)
        return {"pdf": f"{path}.pdf", "png": self._in_report(path, "png", name, shows, category)}

    def table(
        self,
        name: str,
        shows: str,
        category: str = BEYOND,
        by_estimator: bool = False,
        when: object = True,
    ) -> dict[str, str]:
        """Return the outputs of a table's rule, likewise."""
        path = self._register(name, "tables", by_estimator, "csv", when)
        return {
            "csv": self._in_report(path, "csv", name, shows, category),
            "md": f"{path}.md",
            "tex": f"{path}.tex",
        }

    def _register(self, name: str, folder: str, by_estimator: bool, kind: str, when: object) -> str:
        """Register an exhibit, and return its path without ending."""
        path = f"results/{folder}/{name}"
        also = self._inputs.config["figures"]["also"] if by_estimator else []
        if when:
            self.paths += [f"{path}{suffix}.{kind}" for suffix in ["", *(f".{e}" for e in also)]]
            self.names = list(dict.fromkeys([*self.names, name]))
        return f"{path}{{suffix}}" if by_estimator else path

    def _in_report(self, path: str, kind: str, name: str, shows: str, category: str) -> str:
        """Return a file that Snakemake's report shows."""

        def labels(wildcards: Wildcards) -> dict[str, str]:
            names = wildcards.keys()
            by = self._inputs.estimator(wildcards) if "suffix" in names else "all"
            return {"shows": shows, "estimator": by}

        return self._report(
            f"{path}.{kind}", caption=f"../report/{name}.rst", category=category, labels=labels
        )
