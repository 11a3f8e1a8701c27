# Figures and tables, each drawn from small tables of the runs it shows, and from nothing else.
# FIGURE.ESTIMATOR.pdf is FIGURE.pdf by another estimator than the configuration's. A rule whose
# outputs are those of `figure` or `table` is part of all that shows figures.


rule figure1:
    input:
        totals=inputs.by_estimator("totals.parquet", inputs.main_runs_of_all_seeds),
    output:
        **figure("figure1", "Figure 1", "Paper"),
    log:
        "results/logs/figure1{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        code=code("figures/figure1"),
    script:
        script_of("figures/figure1")


rule figure2:
    input:
        curves=inputs.by_estimator("curves.parquet", inputs.main_runs_of_all_seeds),
    output:
        **figure("figure2", "Figure 2", "Paper"),
    log:
        "results/logs/figure2{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        smoothing=config["figures"]["smoothing"],
        scale=config["figures"]["update_axis"],
        code=code("figures/figure2"),
    script:
        script_of("figures/figure2")


rule figure3:
    input:
        totals=inputs.by_estimator("totals.parquet", inputs.main_runs),
    output:
        **figure("figure3", "Figure 3", "Paper"),
    log:
        "results/logs/figure3{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        code=code("figures/figure3"),
    script:
        script_of("figures/figure3")


rule figure4:
    input:
        curves=inputs.by_estimator(
            "curves.parquet", [run for run in inputs.main_runs if run.objective == "mlm"]
        ),
    output:
        **figure("figure4", "Figure 4", "Paper", when=config["main_runs"]["mlm"]),
    log:
        "results/logs/figure4{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        code=code("figures/figure4"),
    script:
        script_of("figures/figure4")


rule figure5:
    input:
        totals=inputs.by_estimator("totals.parquet", inputs.runs),
    output:
        **figure("figure5", "Figure 5", "Paper"),
    log:
        "results/logs/figure5{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        dashed=config["figures"]["dashed"],
        code=code("figures/figure5"),
    script:
        script_of("figures/figure5")


rule figure6:
    input:
        totals=inputs.by_estimator("totals.parquet", inputs.runs),
    output:
        **figure("figure6", "Figure 6", "Paper"),
    log:
        "results/logs/figure6{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        code=code("figures/figure6"),
    script:
        script_of("figures/figure6")


rule completeness:
    input:
        completeness=files("completeness.parquet", inputs.main_runs_of_all_seeds),
        curves=files("curves.parquet", inputs.main_runs_of_all_seeds),
    output:
        **figure("completeness", "Completeness", by_estimator=False),
    log:
        "results/logs/completeness.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        code=code("figures/completeness"),
    script:
        script_of("figures/completeness")


rule helping:
    input:
        curves=inputs.by_estimator("curves.parquet", inputs.main_runs_of_all_seeds),
    output:
        **figure("helping", "Parameters that help"),
    log:
        "results/logs/helping{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        smoothing=config["figures"]["smoothing"],
        scale=config["figures"]["update_axis"],
        code=code("figures/helping"),
    script:
        script_of("figures/helping")


rule held_out:
    input:
        probes=files("probes.parquet", inputs.main_runs),
    output:
        **figure("held_out", "Train against held-out", by_estimator=False),
    log:
        "results/logs/held_out.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        code=code("figures/held_out"),
    script:
        script_of("figures/held_out")


# The figure shows one run of each objective, a main run where there is one.
rule agreement:
    input:
        agreement=inputs.agreement,
    output:
        **figure(
            "agreement",
            "Blocks against the truth",
            by_estimator=False,
            when=inputs.probed_throughout,
        ),
        **table("agreement", "Agreement with the truth", when=inputs.probed_throughout),
    log:
        "results/logs/agreement.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        code=code("figures/agreement"),
    script:
        script_of("figures/agreement")


rule shapes:
    input:
        totals=inputs.by_estimator("totals.parquet", inputs.main_runs_of_all_variants),
    output:
        **figure("shapes", "Shapes by variant", when=len(config["variants"]) > 1),
    log:
        "results/logs/shapes{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        main=inputs.models_by_variant,
        code=code("figures/shapes"),
    script:
        script_of("figures/shapes")


rule verdicts:
    input:
        totals=files("totals.parquet", inputs.main_runs_of_all_variants),
        curves=files("curves.parquet", inputs.main_runs_of_all_variants),
        head_curves=files("head_curves.parquet", inputs.main_runs_of_all_variants),
    output:
        **figure(
            "verdicts",
            "Verdicts by variant",
            by_estimator=False,
            when=len(config["variants"]) > 1,
        ),
        csv="results/tables/verdicts.csv",
    log:
        "results/logs/verdicts.log",
    conda:
        "../../envs/figures.yaml"
    params:
        main=inputs.models_by_variant,
        code=code("figures/verdicts"),
    script:
        script_of("figures/verdicts")


rule losses:
    input:
        losses=files("losses.parquet", inputs.runs),
        completeness=files("completeness.parquet", inputs.runs),
    output:
        **figure("losses", "Losses", by_estimator=False),
    log:
        "results/logs/losses.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        smoothing=config["figures"]["smoothing"],
        scale=config["figures"]["update_axis"],
        code=code("figures/losses"),
    script:
        script_of("figures/losses")


rule similarity:
    input:
        totals=inputs.by_estimator("totals.parquet", inputs.runs),
    output:
        **figure("similarity", "Similarity of runs"),
    log:
        "results/logs/similarity{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        code=code("figures/similarity"),
    script:
        script_of("figures/similarity")


rule table1:
    input:
        milestones=inputs.by_estimator("milestones.parquet", inputs.main_runs),
        curves=inputs.by_estimator("curves.parquet", inputs.main_runs),
        paper=source("../../resources/paper/table1.csv"),
    output:
        **table("table1", "Table 1", "Paper", by_estimator=True),
    log:
        "results/logs/table1{suffix}.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        estimator=inputs.estimator,
        code=code("analysis/table1"),
    script:
        script_of("analysis/table1")


rule table2:
    input:
        manifests=files("run.json", inputs.runs),
        paper=source("../../resources/paper/table2.csv"),
    output:
        **table("table2", "Table 2", "Paper"),
    log:
        "results/logs/table2.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        code=code("analysis/table2"),
    script:
        script_of("analysis/table2")


rule table3:
    input:
        manifests=[f"results/data/{corpus}/{pair}/split.json" for corpus, pair in inputs.pairs],
        paper=source("../../resources/paper/table3.csv"),
    output:
        **table("table3", "Table 3", "Paper"),
    log:
        "results/logs/table3.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        pairs=inputs.pairs,
        code=code("analysis/table3"),
    script:
        script_of("analysis/table3")


rule scores:
    input:
        scores=files("scores.parquet", inputs.runs),
    output:
        **table("scores", "Scores"),
    log:
        "results/logs/scores.log",
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        runs=inputs.runs,
        code=code("analysis/scores"),
    script:
        script_of("analysis/scores")
