# Stopping points to ask for by name.


rule figures:
    input:
        rules.figure1.output,


rule totals:
    input:
        [rules.aggregate.output.totals.format(**run._asdict()) for run in RUNS],


rule models:
    input:
        [rules.train.output.log.format(**run._asdict()) for run in RUNS],


rule data:
    input:
        sorted({dataset(run) for run in RUNS}),
