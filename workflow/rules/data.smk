# From the sources to fairseq's binary data. Every step leaves its counts and checksums in a
# manifest. What is left of the data goes before trainings, so that none has to wait for it later.


# Before the first job, never in a dry run: what the trainings are given, since it would be found
# wrong hours later, and all that this run is going to fetch. Snakemake offers `onstart` no public
# list of the jobs that will run.
onstart:
    needed = list(workflow.dag.needrun_jobs())
    inputs.check_trainings(needed, is_local=workflow.local_exec)
    inputs.check_sources(needed)


rule download:
    output:
        folder=directory(f"{PAIR}/download"),
        manifest=f"{PAIR}/download.json",
    log:
        "results/logs/download/{corpus}/{source}-{target}.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        corpus=inputs.origin,
        source=lambda wildcards: wildcards.source,
        target=lambda wildcards: wildcards.target,
    script:
        script_of("data/download")


rule read:
    input:
        unpack(inputs.raw),
    output:
        source=f"{PAIR}/read/{{source}}.gz",
        target=f"{PAIR}/read/{{target}}.gz",
        manifest=f"{PAIR}/read.json",
    log:
        "results/logs/read/{corpus}/{source}-{target}.log",
    conda:
        "../../envs/data.yaml"
    threads: 2
    params:
        corpus=inputs.origin,
        source=lambda wildcards: wildcards.source,
        target=lambda wildcards: wildcards.target,
    script:
        script_of("data/read")


rule clean:
    input:
        source=rules.read.output.source,
        target=rules.read.output.target,
    output:
        source=f"{PAIR}/clean/{{source}}.gz",
        target=f"{PAIR}/clean/{{target}}.gz",
        manifest=f"{PAIR}/clean.json",
    log:
        "results/logs/clean/{corpus}/{source}-{target}.log",
    conda:
        "../../envs/data.yaml"
    params:
        max_words=config["cleaning"]["max_words"],
        max_ratio=config["cleaning"]["max_ratio"],
    script:
        script_of("data/clean")


rule split:
    input:
        source=rules.clean.output.source,
        target=rules.clean.output.target,
    output:
        train_source=f"{PAIR}/split/train.{{source}}.gz",
        train_target=f"{PAIR}/split/train.{{target}}.gz",
        valid_source=f"{PAIR}/split/valid.{{source}}.gz",
        valid_target=f"{PAIR}/split/valid.{{target}}.gz",
        test_source=f"{PAIR}/split/test.{{source}}.gz",
        test_target=f"{PAIR}/split/test.{{target}}.gz",
        manifest=f"{PAIR}/split.json",
    log:
        "results/logs/split/{corpus}/{source}-{target}.log",
    conda:
        "../../envs/data.yaml"
    params:
        valid=lambda wildcards: inputs.corpus(wildcards)["valid"],
        test=lambda wildcards: inputs.corpus(wildcards)["test"],
        max_train=lambda wildcards: inputs.corpus(wildcards).get("max_train"),
        seed=1,
    script:
        script_of("data/split")


rule learn_bpe:
    input:
        text=lambda wildcards: expand(
            f"{PAIR}/split/train.{{language}}.gz", language=languages(wildcards), **wildcards
        ),
    output:
        model=f"{PAIR}/bpe/{{scope}}/spm.model",
        dictionary=f"{PAIR}/bpe/{{scope}}/dict.txt",
        manifest=f"{PAIR}/bpe/{{scope}}/bpe.json",
    log:
        "results/logs/learn_bpe/{corpus}/{source}-{target}/{scope}.log",
    priority: 1
    conda:
        "../../envs/data.yaml"
    params:
        vocab_size=config["bpe"]["vocab_size"],
        sample=config["bpe"]["sample"],
    script:
        script_of("data/learn_bpe")


rule binarise:
    input:
        unpack(inputs.parts),
        model=rules.learn_bpe.output.model,
        dictionary=rules.learn_bpe.output.dictionary,
    output:
        folder=directory(f"{PAIR}/bin/{{scope}}"),
        manifest=f"{PAIR}/bin/{{scope}}.json",
    log:
        "results/logs/binarise/{corpus}/{source}-{target}/{scope}.log",
    priority: 1
    conda:
        "../../envs/train.yaml"
    params:
        source=lambda wildcards: languages(wildcards)[0],
        target=lambda wildcards: (languages(wildcards)[1:] or [None])[0],
    script:
        script_of("data/binarise")


rule alter:
    input:
        folder=rules.binarise.output.folder,
    output:
        folder=directory(f"{PAIR}/altered/{{scope}}/max_train-{{max_train}}/noise-{{noise}}"),
        manifest=f"{PAIR}/altered/{{scope}}/max_train-{{max_train}}/noise-{{noise}}.json",
    log:
        "results/logs/alter/{corpus}/{source}-{target}/{scope}/{max_train}-{noise}.log",
    priority: 1
    conda:
        "../../envs/train.yaml"
    params:
        max_train=lambda wildcards: wildcards.max_train,
        noise=lambda wildcards: wildcards.noise,
    script:
        script_of("data/alter")
