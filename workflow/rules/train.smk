# One training per run, and its log in small tables.


rule train:
    input:
        data=inputs.dataset,
        manifest=inputs.dataset_manifest,
    output:
        log=f"{RUN_FOLDER}/log.parquet",
        manifest=f"{RUN_FOLDER}/run.json",
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
        totals=f"{RUN_FOLDER}/totals.parquet",
        curves=f"{RUN_FOLDER}/curves.parquet",
        head_curves=f"{RUN_FOLDER}/head_curves.parquet",
        milestones=f"{RUN_FOLDER}/milestones.parquet",
        losses=f"{RUN_FOLDER}/losses.parquet",
        completeness=f"{RUN_FOLDER}/completeness.parquet",
        probes=f"{RUN_FOLDER}/probes.parquet",
        agreement=f"{RUN_FOLDER}/agreement.parquet",
        summary=f"{RUN_FOLDER}/summary.csv",
    log:
        "results/logs/aggregate/{corpus}/{objective}/{languages}/{variant}/{seed}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        windows=config["figures"]["windows"],
        code=code("analysis/aggregate"),
    script:
        script_of("analysis/aggregate")
