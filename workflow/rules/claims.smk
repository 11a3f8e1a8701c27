# The paper's claims, put to the test. Most are about the main runs, with all their seeds; some
# are about all runs. Scores say which models have hardly learned.


rule claims:
    input:
        totals=tables("totals", RUNS),
        curves=tables("curves", MAIN_OF_ALL_SEEDS),
        head_curves=tables("head_curves", MAIN_OF_ALL_SEEDS),
        scores=tables("scores", RUNS),
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
        main=["/".join(run[:-1]) for run in MAIN],
    script:
        "../../scripts/analysis/claims.py"
