# Stopping points to ask for by name.

BY_ESTIMATOR = ["figure1", "figure2", "figure3", "figure5", "figure6"]
BY_ESTIMATOR += ["helping", "similarity", "table1"]
if config["main_runs"]["mlm"]:
    BY_ESTIMATOR.append("figure4")
WHERE_PROBED = rules.agreement.output if PROBED else []


rule figures:
    input:
        [
            path.format(suffix=suffix)
            for name in BY_ESTIMATOR
            for path in getattr(rules, name).output
            for suffix in ["", *(f".{estimator}" for estimator in config["figures"]["also"])]
        ],
        WHERE_PROBED,
        rules.completeness.output,
        rules.held_out.output,
        rules.losses.output,
        rules.scores.output,
        rules.table2.output,
        rules.table3.output,


rule totals:
    input:
        [rules.aggregate.output.totals.format(**run._asdict()) for run in RUNS],


rule models:
    input:
        [rules.train.output.log.format(**run._asdict()) for run in RUNS],


rule data:
    input:
        sorted({dataset(run) for run in RUNS}),
