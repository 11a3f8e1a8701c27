# Stopping points to ask for by name.


rule figures:
    input:
        exhibits.paths,


rule totals:
    input:
        files("totals.parquet", inputs.runs),


rule models:
    input:
        files("log.parquet", inputs.runs),


rule data:
    input:
        sorted({inputs.dataset(run) for run in inputs.runs}),
