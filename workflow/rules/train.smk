# One training per run, and its log in small tables.


rule train:
    input:
        data=dataset,
        manifest=lambda wildcards: dataset(wildcards) + ".json",
    output:
        log=f"{RUN}/log.parquet",
        manifest=f"{RUN}/run.json",
    log:
        "results/logs/train/{corpus}/{objective}/{languages}/{variant}/{seed}.log",
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        max_tokens=2048,
        runtime=minutes,
    params:
        run="{corpus}/{objective}/{languages}/{variant}/{seed}",
        settings=lambda wildcards: experiment.settings(config, wildcards.variant),
        state="results/state",
    script:
        "../../scripts/training/train.py"


rule aggregate:
    input:
        log=rules.train.output.log,
        manifest=rules.train.output.manifest,
    output:
        totals=f"{RUN}/totals.parquet",
        curves=f"{RUN}/curves.parquet",
        head_curves=f"{RUN}/head_curves.parquet",
        milestones=f"{RUN}/milestones.parquet",
        losses=f"{RUN}/losses.parquet",
        completeness=f"{RUN}/completeness.parquet",
        probes=f"{RUN}/probes.parquet",
        agreement=f"{RUN}/agreement.parquet",
        summary=f"{RUN}/summary.csv",
    log:
        "results/logs/aggregate/{corpus}/{objective}/{languages}/{variant}/{seed}.log",
    conda:
        "../../envs/figures.yaml"
    script:
        "../../scripts/analysis/aggregate.py"
