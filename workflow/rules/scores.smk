# How good the finished models are on text that they were not trained on.


rule download_test_set:
    output:
        source="results/test_sets/{test_set}/{source}-{target}/{source}.gz",
        target="results/test_sets/{test_set}/{source}-{target}/{target}.gz",
        manifest="results/test_sets/{test_set}/{source}-{target}/manifest.json",
    log:
        "results/logs/download_test_set/{test_set}/{source}-{target}.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    script:
        script_of("data/download_test_set")


rule score:
    input:
        manifest=rules.train.output.manifest,
        data=inputs.dataset,
        bpe=inputs.spm_model,
        sources=inputs.test_sources,
        references=inputs.test_references,
    output:
        scores=f"{RUN_FOLDER}/scores.parquet",
    log:
        "results/logs/score/{corpus}/{objective}/{languages}/{variant}/{seed}.log",
    conda:
        "../../envs/train.yaml"
    params:
        test_sets=inputs.test_sets,
        beam=config["scoring"]["beam"],
        sentences=config["scoring"]["sentences"],
    script:
        script_of("training/score")
