# One page that shows everything, to be opened in a browser.


rule report:
    input:
        manifests=files("run.json", inputs.runs),
        totals=files("totals.parquet", inputs.runs),
        curves=files("curves.parquet", inputs.runs),
        head_curves=files("head_curves.parquet", inputs.runs),
        milestones=files("milestones.parquet", inputs.runs),
        losses=files("losses.parquet", inputs.runs),
        completeness=files("completeness.parquet", inputs.runs),
        probes=files("probes.parquet", inputs.runs),
        scores=files("scores.parquet", inputs.runs),
        claims="results/tables/claims.csv",
        figures=[path for path in rules.figures.input if path.endswith(".png")],
        tables=[path for path in rules.figures.input if path.endswith(".csv")],
        captions=[source(f"../report/{name}.rst") for name in exhibits.names],
    output:
        page="results/report.html",
    log:
        "results/logs/report.log",
    conda:
        "../../envs/figures.yaml"
    params:
        main_runs=[run.name for run in inputs.main_runs],
        figures=config["figures"],
        code=code("publishing/report"),
    script:
        script_of("publishing/report")
