# The paper's claims, put to the test. Most are about the main runs, with all their seeds; some
# are about all runs. Scores say which models have hardly learned.


rule claims:
    input:
        totals=files("totals.parquet", inputs.runs),
        curves=files("curves.parquet", inputs.main_runs_of_all_seeds),
        head_curves=files("head_curves.parquet", inputs.main_runs_of_all_seeds),
        scores=files("scores.parquet", inputs.runs),
    output:
        md=report(
            "results/tables/claims.md",
            caption="../report/claims.rst",
            category="Claims",
            labels={"table": "the paper's claims", "format": "Markdown"},
        ),
        csv=report(
            "results/tables/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"table": "the paper's claims", "format": "CSV"},
        ),
    log:
        "results/logs/claims.log",
    conda:
        "../../envs/figures.yaml"
    params:
        main=["/".join(run[:-1]) for run in inputs.main_runs],
        code=code("analysis/claims"),
    script:
        script_of("analysis/claims")
