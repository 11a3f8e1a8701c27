# One training per run, and its log in small tables.


rule train:
    input:
        data=inputs.dataset,
        manifest=inputs.dataset_manifest,
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
        runtime=inputs.minutes,
    params:
        run="{corpus}/{objective}/{languages}/{variant}/{seed}",
        settings=inputs.settings,
        state="results/state",
    script:
        script_of("training/train")


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
    params:
        windows=config["figures"]["windows"],
        code=code("analysis/aggregate"),
    script:
        script_of("analysis/aggregate")
