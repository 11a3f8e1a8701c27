# Figures, each drawn from small tables.


rule figure1:
    input:
        totals=[
            rules.aggregate.output.totals.format(**run._asdict())
            for run in experiment.main_runs(config)
        ],
    output:
        pdf="results/figures/figure1.pdf",
        png="results/figures/figure1.png",
    log:
        "results/logs/figure1.log",
    conda:
        "../../envs/figures.yaml"
    script:
        "../../scripts/figure1.py"
