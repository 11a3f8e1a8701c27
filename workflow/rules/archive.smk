# What it takes to redraw every figure and table elsewhere, without a training.


rule archive:
    input:
        runs=[
            path.format(**run._asdict())
            for run in inputs.runs
            for path in [
                rules.train.output.manifest,
                *rules.aggregate.output,
                *rules.score.output,
            ]
        ],
        data=[f"results/data/{corpus}/{pair}/split.json" for corpus, pair in inputs.pairs],
    output:
        archive="results/archive.tar.gz",
    log:
        "results/logs/archive.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    script:
        script_of("publishing/archive")
