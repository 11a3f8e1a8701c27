# Figures and tables, each drawn from small tables of the runs it shows, and from nothing else.
# FIGURE.ESTIMATOR.pdf is FIGURE.pdf by another estimator than the configuration's.

MAIN = experiment.main_runs(config)
MAIN_OF_ALL_SEEDS = [run._replace(seed=seed) for run in MAIN for seed in config["seeds"]]
PROBED = experiment.probed_throughout(config)
PAIRS = sorted({(run.corpus, experiment.pair(config, run.corpus, run.languages)) for run in RUNS})


rule figure1:
    input:
        totals=tables_by_estimator("totals", MAIN_OF_ALL_SEEDS),
    output:
        pdf="results/figures/figure1{suffix}.pdf",
        png=report(
            "results/figures/figure1{suffix}.png",
            caption="../report/figure1.rst",
            category="Paper",
            labels=labels("Figure 1"),
        ),
    log:
        "results/logs/figure1{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
    script:
        "../../scripts/figures/figure1.py"


rule figure2:
    input:
        curves=tables_by_estimator("curves", MAIN_OF_ALL_SEEDS),
    output:
        pdf="results/figures/figure2{suffix}.pdf",
        png=report(
            "results/figures/figure2{suffix}.png",
            caption="../report/figure2.rst",
            category="Paper",
            labels=labels("Figure 2"),
        ),
    log:
        "results/logs/figure2{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
        smoothing=config["figures"]["smoothing"],
        scale=config["figures"]["update_axis"],
    script:
        "../../scripts/figures/figure2.py"


rule figure3:
    input:
        totals=tables_by_estimator("totals", MAIN),
    output:
        pdf="results/figures/figure3{suffix}.pdf",
        png=report(
            "results/figures/figure3{suffix}.png",
            caption="../report/figure3.rst",
            category="Paper",
            labels=labels("Figure 3"),
        ),
    log:
        "results/logs/figure3{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
    script:
        "../../scripts/figures/figure3.py"


rule figure4:
    input:
        curves=tables_by_estimator("curves", [run for run in MAIN if run.objective == "mlm"]),
    output:
        pdf="results/figures/figure4{suffix}.pdf",
        png=report(
            "results/figures/figure4{suffix}.png",
            caption="../report/figure4.rst",
            category="Paper",
            labels=labels("Figure 4"),
        ),
    log:
        "results/logs/figure4{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
    script:
        "../../scripts/figures/figure4.py"


rule figure5:
    input:
        totals=tables_by_estimator("totals", RUNS),
    output:
        pdf="results/figures/figure5{suffix}.pdf",
        png=report(
            "results/figures/figure5{suffix}.png",
            caption="../report/figure5.rst",
            category="Paper",
            labels=labels("Figure 5"),
        ),
    log:
        "results/logs/figure5{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
        dashed=config["figures"]["dashed"],
    script:
        "../../scripts/figures/figure5.py"


rule figure6:
    input:
        totals=tables_by_estimator("totals", RUNS),
    output:
        pdf="results/figures/figure6{suffix}.pdf",
        png=report(
            "results/figures/figure6{suffix}.png",
            caption="../report/figure6.rst",
            category="Paper",
            labels=labels("Figure 6"),
        ),
    log:
        "results/logs/figure6{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
    script:
        "../../scripts/figures/figure6.py"


rule completeness:
    input:
        completeness=tables("completeness", MAIN_OF_ALL_SEEDS),
        curves=tables("curves", MAIN_OF_ALL_SEEDS),
    output:
        pdf="results/figures/completeness.pdf",
        png=report(
            "results/figures/completeness.png",
            caption="../report/completeness.rst",
            category="Beyond the paper",
            labels={"shows": "Completeness", "estimator": "all"},
        ),
    log:
        "results/logs/completeness.log",
    conda:
        "../../envs/figures.yaml"
    script:
        "../../scripts/figures/completeness.py"


rule helping:
    input:
        curves=tables_by_estimator("curves", MAIN_OF_ALL_SEEDS),
    output:
        pdf="results/figures/helping{suffix}.pdf",
        png=report(
            "results/figures/helping{suffix}.png",
            caption="../report/helping.rst",
            category="Beyond the paper",
            labels=labels("Parameters that help"),
        ),
    log:
        "results/logs/helping{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
        smoothing=config["figures"]["smoothing"],
        scale=config["figures"]["update_axis"],
    script:
        "../../scripts/figures/helping.py"


rule held_out:
    input:
        probes=tables("probes", MAIN),
    output:
        pdf="results/figures/held_out.pdf",
        png=report(
            "results/figures/held_out.png",
            caption="../report/held_out.rst",
            category="Beyond the paper",
            labels={"shows": "Train against held-out", "estimator": "probe"},
        ),
    log:
        "results/logs/held_out.log",
    conda:
        "../../envs/figures.yaml"
    script:
        "../../scripts/figures/held_out.py"


# The figure shows one run of each objective, a main run where there is one.
rule agreement:
    input:
        agreement=lambda wildcards: tables("agreement", PROBED) or no_truth(),
    output:
        pdf="results/figures/agreement.pdf",
        png=report(
            "results/figures/agreement.png",
            caption="../report/agreement.rst",
            category="Beyond the paper",
            labels={"shows": "Blocks against the truth", "estimator": "all"},
        ),
        csv=report(
            "results/tables/agreement.csv",
            caption="../report/agreement.rst",
            category="Beyond the paper",
            labels={"shows": "Agreement with the truth", "estimator": "all"},
        ),
        md="results/tables/agreement.md",
        tex="results/tables/agreement.tex",
    log:
        "results/logs/agreement.log",
    conda:
        "../../envs/figures.yaml"
    script:
        "../../scripts/analysis/agreement.py"


rule losses:
    input:
        losses=tables("losses", RUNS),
        completeness=tables("completeness", RUNS),
    output:
        pdf="results/figures/losses.pdf",
        png=report(
            "results/figures/losses.png",
            caption="../report/losses.rst",
            category="Beyond the paper",
            labels={"shows": "Losses", "estimator": "none"},
        ),
    log:
        "results/logs/losses.log",
    conda:
        "../../envs/figures.yaml"
    params:
        smoothing=config["figures"]["smoothing"],
        scale=config["figures"]["update_axis"],
    script:
        "../../scripts/figures/losses.py"


rule similarity:
    input:
        totals=tables_by_estimator("totals", RUNS),
    output:
        pdf="results/figures/similarity{suffix}.pdf",
        png=report(
            "results/figures/similarity{suffix}.png",
            caption="../report/similarity.rst",
            category="Beyond the paper",
            labels=labels("Similarity of runs"),
        ),
    log:
        "results/logs/similarity{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
    script:
        "../../scripts/figures/similarity.py"


rule table1:
    input:
        milestones=tables_by_estimator("milestones", MAIN),
        paper="resources/paper/table1.csv",
    output:
        csv=report(
            "results/tables/table1{suffix}.csv",
            caption="../report/table1.rst",
            category="Paper",
            labels=labels("Table 1"),
        ),
        md="results/tables/table1{suffix}.md",
        tex="results/tables/table1{suffix}.tex",
    log:
        "results/logs/table1{suffix}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=estimator,
    script:
        "../../scripts/analysis/table1.py"


rule table2:
    input:
        manifests=[rules.train.output.manifest.format(**run._asdict()) for run in RUNS],
        paper="resources/paper/table2.csv",
    output:
        csv=report(
            "results/tables/table2.csv",
            caption="../report/table2.rst",
            category="Paper",
            labels={"shows": "Table 2", "estimator": "none"},
        ),
        md="results/tables/table2.md",
        tex="results/tables/table2.tex",
    log:
        "results/logs/table2.log",
    conda:
        "../../envs/figures.yaml"
    script:
        "../../scripts/analysis/table2.py"


rule table3:
    input:
        manifests=[f"results/data/{corpus}/{pair}/split.json" for corpus, pair in PAIRS],
        paper="resources/paper/table3.csv",
    output:
        csv=report(
            "results/tables/table3.csv",
            caption="../report/table3.rst",
            category="Paper",
            labels={"shows": "Table 3", "estimator": "none"},
        ),
        md="results/tables/table3.md",
        tex="results/tables/table3.tex",
    log:
        "results/logs/table3.log",
    conda:
        "../../envs/figures.yaml"
    params:
        pairs=PAIRS,
    script:
        "../../scripts/analysis/table3.py"


rule scores:
    input:
        scores=tables("scores", RUNS),
    output:
        csv=report(
            "results/tables/scores.csv",
            caption="../report/scores.rst",
            category="Beyond the paper",
            labels={"shows": "Scores", "estimator": "none"},
        ),
        md="results/tables/scores.md",
        tex="results/tables/scores.tex",
    log:
        "results/logs/scores.log",
    conda:
        "../../envs/figures.yaml"
    params:
        runs=RUNS,
    script:
        "../../scripts/analysis/scores.py"
