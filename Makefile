# `make help` lists the targets. Everything is installed in .venv and nowhere else.
#
#: PYTHON  interpreter for .venv, 3.11 or 3.12 (default: the first one found)
#: TORCH   PyTorch build, settled by the first install (another one later: rm -r .venv)
#:         empty = the package index's own (on PyPI: CUDA 13); cpu = no CUDA, far smaller;
#:         cu126 = the last CUDA that runs on a V100; cu130
#: CORES   cores for the demo (default: all)
#: CONFIG  for plan, status and archive: a file of differences from config/config.yaml, as config/demo.yaml

CORES ?= all

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help install demo plan status archive test bench lint format profiles lock clean

bin := .venv/bin
python_dirs := src scripts tests resources bench
# Left to itself, pip byte-compiles all 13,000 files; that takes half its time, and few are used.
pip_install := pip install --quiet --no-compile --disable-pip-version-check \
  $(if $(TORCH),--extra-index-url https://download.pytorch.org/whl/$(TORCH))
snakemake := $(bin)/snakemake

# Makes a virtual environment in $(1) with the first interpreter that will do. The upper limit is
# ve-fairseq's: it has wheels for these two versions only.
define create_venv
candidates="$(or $(PYTHON),python3.11 python3.12 python3)"
for python in $$candidates none; do
  "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' \
    2>/dev/null && break
done
if [ "$$python" = none ]; then
  echo "Python 3.11 or 3.12 with venv is needed (tried: $$candidates); on Debian and Ubuntu:" \
    "apt install python3-venv; elsewhere: make PYTHON=/path/to/python3.11 ..." >&2
  exit 1
fi
echo "Installing into $(1) with $$("$$python" --version) ..."
"$$python" -m venv "$(1)"
endef

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-9s %s\n", $$1, $$2}
	  /^#:/ {variables = variables substr($$0, 4) "\n"}
	  END {printf "\nVariables, as in `make install TORCH=cpu`:\n%s", variables}' $(firstword $(MAKEFILE_LIST))

install: .venv/.installed ## install what the workflow needs into .venv

.venv/.installed: envs/requirements.txt pyproject.toml
	@[ -n "$(TORCH)" ] || command -v nvidia-smi >/dev/null ||
	  echo "no nvidia-smi here: without a card, 'make install TORCH=cpu' takes 1.5 GB instead of 5.6"
	$(call create_venv,.venv)
	$(bin)/$(pip_install) --requirement $<
	$(bin)/$(pip_install) --no-deps --editable .
	# See that it works, and keep the byte code of what every job imports even where Python is told
	# to write none, as in many containers: the difference is 6 seconds a job. An optimizer imports
	# torch._dynamo: two more.
	env -u PYTHONDONTWRITEBYTECODE $(bin)/python -W ignore -c 'import logging; logging.disable();
	import fairseq_cli.train, matplotlib.pyplot, numba, pandas, pyarrow.parquet, scipy.cluster.hierarchy
	import scipy.stats, snakemake.cli, torch._dynamo'
	touch $@

.venv/.installed-dev: envs/requirements-dev.txt .venv/.installed
	@$(bin)/$(pip_install) --requirement $<
	# Triton interprets the kernel for CUDA; CUDA builds of PyTorch have brought their own.
	$(bin)/python -c 'import triton' 2>/dev/null || $(bin)/$(pip_install) triton
	touch $@

# Bars on a terminal, above them what jobs tell it; plain lines in files and pipes. All that Snakemake
# says is in .snakemake/log, all that a job says in results/logs.
demo: install ## the whole pipeline on the bundled corpus: small models, on a laptop's CPU
	@[ -t 1 ] && [ -t 2 ] && how="--logger rich --quiet host reason" || how="--quiet host reason rules"
	$(snakemake) --configfile config/demo.yaml --cores $(CORES) $$how
	$(bin)/python -m closer_look.summary config/demo.yaml

plan: install ## what would still run, without running it: jobs, GPU hours, disk
	@$(snakemake) $(if $(CONFIG),--configfile $(CONFIG)) --dry-run --quiet rules
	$(bin)/python -m closer_look.plan $(CONFIG)

status: install ## how far each training is
	@$(bin)/python -m closer_look.status $(CONFIG)

archive: install ## results/archive.tar.gz: code and tables, to redraw every figure without a training
	@$(snakemake) $(if $(CONFIG),--configfile $(CONFIG)) --cores $(CORES) -- results/archive.tar.gz

test: .venv/.installed-dev ## run the tests (only the fast ones: .venv/bin/pytest -m "not slow")
	@$(bin)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

bench: install ## what LCA costs, measured side by side; the tables go into bench/README.md
	@$(bin)/python -W ignore -m bench

lint: .venv/.installed-dev ## check style, formatting, types, spelling and the workflow's own rules
	@$(bin)/ruff check $(python_dirs)
	$(bin)/codespell
	$(bin)/mypy
	$(bin)/ruff format --check $(python_dirs)
	$(bin)/snakefmt --check workflow
	$(snakemake) --lint

format: .venv/.installed-dev ## format Python and Snakemake files in place
	@$(bin)/ruff check --fix-only $(python_dirs)
	$(bin)/ruff format $(python_dirs)
	$(bin)/snakefmt workflow

profiles: ## link profiles/* to where `snakemake --profile NAME` looks from any folder
	@folder=$${XDG_CONFIG_HOME:-$$HOME/.config}/snakemake
	mkdir -p "$$folder"
	for profile in "$(CURDIR)"/profiles/*/; do
	  profile=$${profile%/} link=$$folder/$$(basename "$$profile")
	  if [ "$$(readlink "$$link" || true)" = "$$profile" ]; then
	    echo "present  $$link"
	  elif [ -e "$$link" ] || [ -L "$$link" ]; then
	    echo "left     $$link: something else is there; use --profile $$profile"
	  else
	    ln -s "$$profile" "$$link"
	    echo "linked   $$link -> $$profile"
	  fi
	done

# The oldest Python has the fewest versions to choose from, and what it gets the newer one can
# install too. Left out: pip, and what depends on the build of torch (its suffix, CUDA's packages).
lock: PYTHON := python3.11
lock: ## resolve envs/*.in anew into envs/*.txt
	@venv=$$(mktemp -d)
	trap 'rm -rf "$$venv"' EXIT
	frozen() {
	  "$$venv/bin/pip" freeze --all --exclude pip --exclude lca-closer-look |
	    sed 's/^\(torch[a-z]*==[^+]*\)+.*/\1/' | grep -Ev '^(nvidia|cuda|triton)[-=]'
	}
	$(call create_venv,$$venv)
	cd envs
	"$$venv/bin/"$(pip_install) --requirement requirements.in
	packages=$$(frozen)
	printf '%s\n' '# Written by `make lock`. Exact versions for Python 3.11 and 3.12.' \
	  '# The CUDA packages are missing on purpose: each build of torch names its own.' \
	  "$$packages" > requirements.txt
	"$$venv/bin/"$(pip_install) --requirement requirements-dev.in --constraint requirements.txt
	printf '%s\n' '# Written by `make lock`.' '-r requirements.txt' \
	  "$$(frozen | grep -vxF "$$packages")" > requirements-dev.txt

clean: ## remove caches; neither results nor .venv
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(python_dirs) workflow -name __pycache__ -type d -prune -exec rm -r {} +
