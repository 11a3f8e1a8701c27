# What it takes to redraw every figure and table elsewhere, without a training.


rule archive:
    input:
        runs=[
            path.format(**run._asdict())
            for run in RUNS
            for path in [
                rules.train.output.manifest,
                *rules.aggregate.output,
                *rules.score.output,
            ]
        ],
        data=[f"results/data/{corpus}/{pair}/split.json" for corpus, pair in PAIRS],
    output:
        archive="results/archive.tar.gz",
    log:
        "results/logs/archive.log",
    conda:
        "../../envs/figures.yaml"
    script:
        "../../scripts/publishing/archive.py"
