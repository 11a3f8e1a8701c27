# One page that shows everything, to be opened in a browser.


rule report:
    input:
        manifests=of_runs("run.json"),
        totals=of_runs("totals.parquet"),
        curves=of_runs("curves.parquet"),
        head_curves=of_runs("head_curves.parquet"),
        milestones=of_runs("milestones.parquet"),
        losses=of_runs("losses.parquet"),
        completeness=of_runs("completeness.parquet"),
        probes=of_runs("probes.parquet"),
        scores=of_runs("scores.parquet"),
        claims="results/tables/claims.csv",
        figures=[path for path in rules.figures.input if path.endswith(".png")],
        tables=[path for path in rules.figures.input if path.endswith(".csv")],
        captions=sorted(Path(workflow.basedir, "report").glob("*.rst")),
    output:
        page="results/report.html",
    log:
        "results/logs/report.log",
    conda:
        "../../envs/figures.yaml"
    params:
        main_runs=[run.name for run in experiment.main_runs(config)],
        figures=config["figures"],
    script:
        "../../scripts/publishing/report.py"
