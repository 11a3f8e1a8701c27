# The paper's claims, put to the test. Most are about the main runs, with all their seeds; some
# are about all runs.

CLAIMED = [
    run._replace(seed=seed) for run in experiment.main_runs(config) for seed in config["seeds"]
]


rule claims:
    input:
        totals=[f"{RUN}/totals.parquet".format(**run._asdict()) for run in RUNS],
        milestones=[f"{RUN}/milestones.parquet".format(**run._asdict()) for run in CLAIMED],
        curves=[f"{RUN}/curves.parquet".format(**run._asdict()) for run in CLAIMED],
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
        main=["/".join(run[:-1]) for run in experiment.main_runs(config)],
    script:
        "../../scripts/claims.py"
