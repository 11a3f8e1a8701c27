# How good the finished models are on text that they were not trained on.


rule download_test_set:
    output:
        source="results/test_sets/{test_set}/{source}-{target}/{source}.gz",
        target="results/test_sets/{test_set}/{source}-{target}/{target}.gz",
        manifest="results/test_sets/{test_set}/{source}-{target}/manifest.json",
    log:
        "results/logs/download_test_set/{test_set}/{source}-{target}.log",
    conda:
        "../../envs/data.yaml"
    script:
        "../../scripts/data/download_test_set.py"


rule score:
    input:
        manifest=rules.train.output.manifest,
        data=dataset,
        bpe=spm_model,
        sources=scored(0),
        references=scored(-1),
    output:
        scores=f"{RUN}/scores.parquet",
    log:
        "results/logs/score/{corpus}/{objective}/{languages}/{variant}/{seed}.log",
    conda:
        "../../envs/train.yaml"
    params:
        test_sets=test_sets,
        beam=config["scoring"]["beam"],
        sentences=config["scoring"]["sentences"],
    script:
        "../../scripts/training/score.py"
