# Every target brings what it needs into .venv and ends with one line: what passed, and where its
# report lies. Needed beforehand: Python 3.11 or newer, Rust, a C compiler.
#
# A new target is one rule: `name: $(PACKAGE)` if it uses the package, `name: $(TOOLS)` if it only
# needs the tools, a `## text` for `make help`, and a closing `@echo "name: ..."`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# A file of `make profile`: the compiler then optimises for what is hot there, in the package, the wheel and whatever
# is measured with them. Without there is none, whatever PGO_PROFILE says outside.
PROFILE ?=
TRAINED := target/wheel.profdata
export PGO_PROFILE := $(abspath $(PROFILE))
# The dependency versions in Cargo.lock and no others.
CARGO_FLAGS ?= --locked

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# Stamps: this environment has the tools; it has the package too, as the sources are now.
TOOLS := $(VENV)/.tools-installed
PACKAGE := $(VENV)/.package-installed$(if $(PROFILE),-with-$(subst /,-,$(PROFILE)))

# maturin and Cython are found there by the build; PyO3 must see one interpreter only, or every
# change between `cargo test` and the package would compile it anew.
export PATH := $(BIN):$(PATH)
export PYO3_PYTHON := $(BIN)/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV

# What the compiled modules are made of; Python files are used in place and need no new install.
SOURCES := Cargo.toml Cargo.lock pyproject.toml \
	$(shell find build_backend cython -name '*.py' -o -name '*.pyx' -o -name '*.pxd') \
	$(shell find rust -name '*.rs' -o -name Cargo.toml)

.PHONY: help demo test lint interop interop-short simulate congestion congestion-short congestion-sockets \
	multipath fuzz mutants attack soak sanitize coverage audit reproduce idle compare instructions docs requirements wheels profile wheel-pgo clean

# A hang must not use up a CI run.
LIMIT := $(if $(shell command -v timeout),timeout 2400,)

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' Makefile | while read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

$(TOOLS): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tquic needs Python 3.11 or newer; set PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@

# Editable, so that Python files are used in place; the compiled modules in release profile.
$(PACKAGE): $(TOOLS) $(SOURCES) $(PROFILE)
	rm -f $(VENV)/.package-installed*
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

demo: $(PACKAGE) ## moves a large file over QUIC on this machine, verifies and measures
	$(BIN)/python scripts/demo.py

test: $(PACKAGE) ## runs the Rust and Python tests
	mkdir -p reports && rm -f reports/rust.txt reports/python.xml
	@# A failure on one side does not hide the other: all run, any failure fails.
	status=0; \
	$(LIMIT) cargo test --workspace --no-fail-fast $(CARGO_FLAGS) 2>&1 | tee reports/rust.txt || status=1; \
	$(BIN)/python -m pytest --junit-xml=reports/python.xml || status=1; \
	$(BIN)/python scripts/summarize_tests.py reports/rust.txt reports/python.xml || status=1; \
	exit $$status

lint: $(PACKAGE) ## checks formatting, lints, types, stubs, sizes, workflows
	cargo fmt --check
	cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --warnings
	$(BIN)/python -m mypy.stubtest $$($(BIN)/python build_backend/tquic_wheel.py --modules)
	$(BIN)/python scripts/check_layout.py
	@scripts/check_workflows.sh
	@echo "lint: formatting, clippy, ruff, mypy, pyright, stubs and layout passed; no report, findings are printed"

# The table of docs/interop.md, from real runs; needs root or user namespaces, and Go for quic-go.
interop: $(PACKAGE) ## runs the interop cases with other people's stacks, writes docs/interop.md
	mkdir -p reports
	TQUIC_INTEROP_BUILD=1 $(BIN)/python -m tests.interop --subject tquic --profile quick \
		--write docs/interop.md --write reports/interop.json
	@echo "interop: no failed cell; the table is docs/interop.md, the facts are reports/interop.json"

# Cases of a second or two.
SHORT := handshake,chacha20,multiplexing,retry,resumption,zerortt,keyupdate,ecn,amplificationlimit,ipv6,v2,connectionmigration,clientmigration,http3

interop-short: $(PACKAGE) ## runs the short interop cases, as CI does
	@# 2: nothing could be run here, the reasons are printed.
	$(BIN)/python -m tests.interop --subject tquic --cases $(SHORT) || test $$? -eq 2
	@echo "interop-short: no failed cell; no report, results are printed"

# Names of attacks, all without; the seed of everything random.
ROWS ?=
SEED ?= 1

attack: $(PACKAGE) ## attacks a running server in every known way (ROWS, SEED), writes docs/reliability.md
	mkdir -p reports
	$(BIN)/python -m tests.attack --seed $(SEED) --json reports/attack.json --write docs/reliability.md $(ROWS)
	@echo "attack: every bound holds; the tables are docs/reliability.md, the facts reports/attack.json"

# Idle connections to open, and the page with their table; docs/reliability.md has one as well.
IDLE_CONNECTIONS ?= 10000
IDLE_PAGE ?= docs/embedding.md

idle: $(PACKAGE) ## measures what IDLE_CONNECTIONS (10000) idle connections cost, writes IDLE_PAGE (docs/embedding.md)
	$(BIN)/python scripts/measure_idle.py --connections $(IDLE_CONNECTIONS) --write $(IDLE_PAGE)
	@echo "idle: measured; the table is in $(IDLE_PAGE), the facts are reports/idle.json"

# Seconds of load; 86400 is a day.
SOAK_SECONDS ?= 1800

soak: $(PACKAGE) ## mixed load with churn for SOAK_SECONDS (1800), memory and descriptors watched, writes docs/soak.md
	$(BIN)/python scripts/soak.py --seconds $(SOAK_SECONDS) --write docs/soak.md
	@echo "soak: no byte, connection or descriptor was lost; the table is docs/soak.md, all samples are reports/soak.json"

# Peers and works to compare (names or groups; all without), rounds, and a tenth of everything.
PEERS ?=
WORK ?=
ROUNDS ?=
QUICK ?=
COMPARE := .venv-compare/.installed
COMPARE_FLAGS ?= --write docs/performance.md

$(COMPARE): benches/compare/requirements.txt
	test -x .venv-compare/bin/python || $(PYTHON) -m venv .venv-compare
	.venv-compare/bin/python -m pip install --quiet --requirement benches/compare/requirements.txt
	touch $@

# Also needs CMake, Go, the headers of libclang and libnuma, and Python 3.12 for one of the peers; a
# peer that cannot be built is listed as such.
compare: $(PACKAGE) $(COMPARE) ## measures tquic beside other stacks, writes docs/performance.md; PEERS, WORK, ROUNDS, QUICK=1
	cd benches && ../.venv-compare/bin/python -m compare $(if $(PEERS),--peers "$(PEERS)") \
		$(if $(WORK),--work "$(WORK)") $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(QUICK),--quick,$(patsubst docs/%,$(CURDIR)/docs/%,$(COMPARE_FLAGS)))
	@echo "compare: measured; the tables are reports/compare/table.md, all facts reports/compare/session.json"

# Records what is counted, for a change that is meant.
UPDATE ?=

instructions: $(TOOLS) ## counts instructions of the hot paths against what is recorded; UPDATE=1 records them
	cargo build --release $(CARGO_FLAGS) -p tquic-bench --bin tquic-operations
	@# 2: there is no valgrind here; the reason is printed.
	$(BIN)/python scripts/count_instructions.py target/release/tquic-operations $(if $(UPDATE),--update) \
		|| test $$? -eq 2
	@echo "instructions: nothing takes more than recorded in rust/bench/instructions.json; the table is printed"

requirements: $(TOOLS) ## says which requirements of the RFCs are met where, writes docs/requirements.md
	$(BIN)/python scripts/requirements.py
	@echo "requirements: each is cited by code and tests, or has a note; the page is docs/requirements.md"

# The tools of the site; it reads the package without building it.
DOCS := .venv-docs/.installed

$(DOCS): requirements-docs.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --requirement requirements-docs.txt
	touch $@

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(DOCS) ## builds the documentation site; warnings and dead links are errors
	@# Not --quiet: warnings that are not printed do not count as errors.
	.venv-docs/bin/mkdocs build
	@echo "docs: every link leads somewhere, every public name is documented; the site is site/index.html"

wheels: $(TOOLS) ## builds the source distribution and a wheel for this Python, and tries the wheel
	rm -rf wheels
	$(BIN)/python -m build --outdir wheels
	$(BIN)/python build_backend/tquic_wheel.py wheels/*.whl
	$(PYTHON) -m venv wheels/try
	wheels/try/bin/python -m pip install --quiet --no-index wheels/*.whl
	cd wheels && try/bin/tquic --version
	rm -rf wheels/try
	@echo "wheels: $$(cd wheels && echo *) built, checked, installed and run; they lie in wheels/"

# Needs llvm-profdata of the compiler's LLVM: rustup's component llvm-tools, or Debian's llvm-22 for LLVM 22.
profile: $(TOOLS) ## has the package do a bit of every work, writes what is hot to target/wheel.profdata, for PROFILE=
	$(BIN)/python scripts/train_profile.py $(TRAINED)
	@echo "profile: trained; it is $(TRAINED), for \`make wheels PROFILE=$(TRAINED)\`"

wheel-pgo: profile ## the same as wheels, with a fresh profile of what is hot
	$(MAKE) wheels PROFILE=$(TRAINED)

# Trials to simulate, the seed of the first, and how many of a hundred play the scenario multipath
# whatever their seed would choose.
SIMULATE_RUNS ?= 20000
SIMULATE_SEED ?= 1
SIMULATE_MULTIPATH ?= 50

simulate: ## plays SIMULATE_RUNS (20000) trials with faults in virtual time, SIMULATE_MULTIPATH % of them multipath
	mkdir -p reports
	cargo run --profile simulate $(CARGO_FLAGS) -p tquic-sim --bin tquic-simulate -- \
		--runs $(SIMULATE_RUNS) --seed $(SIMULATE_SEED) --multipath $(SIMULATE_MULTIPATH) | tee reports/simulate.txt
	@echo "simulate: $$(tail -n 1 reports/simulate.txt | cut -d: -f1); the report is reports/simulate.txt"

# Seeds for every controller in every scenario.
SEEDS ?= 20
CONGESTION := cargo run --profile simulate $(CARGO_FLAGS) -p tquic-sim --bin tquic-congestion --

congestion: $(TOOLS) ## plays every congestion controller in every scenario, writes docs/congestion-results.md
	mkdir -p reports
	@# A band that does not hold ends in the page too, and then as an error.
	status=0; \
	$(CONGESTION) --all --seeds $(SEEDS) --json reports/congestion.json \
		--courses reports/congestion-courses.json --markdown docs/congestion-results.md \
		| tee reports/congestion.txt || status=1; \
	$(BIN)/python scripts/plot_congestion.py reports/congestion-courses.json docs/congestion; \
	exit $$status
	@echo "congestion: $$(tail -n 1 reports/congestion.txt); the tables are docs/congestion-results.md, the facts reports/congestion.json"

congestion-short: ## plays what bands are known of with 3 seeds, as CI does
	mkdir -p reports
	$(CONGESTION) --seeds 3 --json reports/congestion.json | tee reports/congestion.txt
	@echo "congestion-short: $$(tail -n 1 reports/congestion.txt); the facts are reports/congestion.json"

# Needs Linux with iproute2, and root or user namespaces. Options as `python -m tquic.bench.multipath` takes them.
MULTIPATH_FLAGS ?= --markdown docs/multipath-results.md

multipath: $(PACKAGE) ## plays several paths between network namespaces, writes docs/multipath-results.md
	cargo build --profile simulate $(CARGO_FLAGS) -p tquic-sim --bin tquic-relay
	TQUIC_BENCH_RELAY=$(CURDIR)/target/simulate/tquic-relay \
		$(BIN)/python -m tquic.bench.multipath $(MULTIPATH_FLAGS)
	@echo "multipath: every figure is as wanted; the table is docs/multipath-results.md"

# Links to measure at the same time, and other options of `python -m fairness --help`.
JOBS ?= 2
FAIRNESS ?=

# Needs root, and as `compare` Go and a Rust toolchain for the others' stacks.
congestion-sockets: $(PACKAGE) ## real flows in namespaces: tquic's controllers, quinn, quic-go, the kernel's TCP; writes docs/congestion.md
	cd benches && $(BIN)/python -m fairness --jobs $(JOBS) --write ../docs/congestion.md $(FAIRNESS)
	@echo "congestion-sockets: measured; the tables are in docs/congestion.md, the facts are reports/fairness.json"

# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
CARGO_FUZZ := .tools/bin/cargo-fuzz

$(CARGO_FUZZ):
	cargo install cargo-fuzz --locked --root .tools

fuzz: $(CARGO_FUZZ) $(TOOLS) ## fuzzes every target for FUZZ_SECONDS (60), the codec under sanitizers
	$(BIN)/python scripts/fuzz.py $(CARGO_FUZZ) $(FUZZ_SECONDS)

# LLVM's tools of the version that rustc uses (Debian: llvm-22), or LLVM_PROFDATA and LLVM_COV.
COVERAGE_FLAGS ?= --write docs/reliability.md

coverage: $(PACKAGE) ## says which lines the tests of the crates, the simulator and the quick Python tests run; writes docs/reliability.md
	$(BIN)/python scripts/coverage_report.py $(COVERAGE_FLAGS)
	@echo "coverage: measured; the table is in docs/reliability.md, what nothing runs is in reports/coverage"

CARGO_MUTANTS := .tools/bin/cargo-mutants
# Files or patterns of them, and a part of their mutants, as 0/4. More options: scripts/mutants.py --help.
MUTANTS ?= rust/wire/src/**/*.rs rust/core/src/space/*.rs rust/core/src/cid/*.rs rust/core/src/stream/**/*.rs
SHARD ?=
MUTANTS_FLAGS ?= --write docs/reliability.md

$(CARGO_MUTANTS):
	cargo install cargo-mutants --locked --version 27.1.0 --root .tools

mutants: $(CARGO_MUTANTS) ## changes MUTANTS (files) in every way and runs their tests, part SHARD; writes docs/reliability.md
	$(PYTHON) scripts/mutants.py $(CARGO_MUTANTS) $(patsubst %,'%',$(MUTANTS)) $(if $(SHARD),--shard $(SHARD)) $(MUTANTS_FLAGS)
	@echo "mutants: the tests notice every change that makes a difference; diffs and logs are in reports/mutants"

# What looks into dependencies: built from source, and the newest of their kind when this was written.
CARGO_DENY := .tools/bin/cargo-deny
CARGO_AUDIT := .tools/bin/cargo-audit
PIP_AUDIT := .venv-audit/bin/pip-audit

$(CARGO_DENY):
	cargo install cargo-deny --locked --version 0.20.2 --root .tools

$(CARGO_AUDIT):
	cargo install cargo-audit --locked --version 0.22.2 --root .tools

$(PIP_AUDIT):
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet pip-audit==2.10.1

# A folder with a copy of https://github.com/RustSec/advisory-db, where that cannot be reached.
export ADVISORY_DB ?=

audit: $(CARGO_DENY) $(CARGO_AUDIT) $(PIP_AUDIT) ## licences, sources and known vulnerabilities of all dependencies
	$(PYTHON) scripts/audit.py .tools/bin $(PIP_AUDIT)
	@echo "audit: nothing was found by the checks that passed above; no report, findings are printed"

reproduce: $(TOOLS) ## builds the wheel twice in two places, with PROFILE if there is one, and compares every byte
	$(BIN)/python scripts/reproduce.py
	@echo "reproduce: both builds gave the same wheel; no report, its SHA-256 is printed"

# Crates whose tests run under AddressSanitizer, which stable compilers have behind this variable.
# ThreadSanitizer would need a standard library that is built with it.
SANITIZE ?= tquic-sched
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

sanitize: ## runs the tests of SANITIZE (tquic-sched: compiled schedulers) under AddressSanitizer
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test $(CARGO_FLAGS) --lib --tests \
		--target $(HOST) --target-dir target/sanitize $(patsubst %,-p %,$(SANITIZE))
	@echo "sanitize: no error in $(SANITIZE); no report, errors are printed"

clean: ## deletes everything that was built, installed or reported here
	rm -rf $(VENV) .venv-audit .venv-docs .venv-compare site .tools build dist wheels reports target fuzz/target fuzz/artifacts
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find python cython build_backend scripts tests benches -name __pycache__ -type d -prune -exec rm -rf {} +
	find python cython \( -name '*.so' -o -name '*.pyd' -o -name '*.c' \) -type f -delete
	@echo "clean: nothing built is left"
