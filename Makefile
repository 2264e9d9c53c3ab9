# `make demo` shows everything at work, `make test` runs every test, `make` builds and runs the quick tests. `make help` lists the rest.
# Needed: Python 3.11 or later with venv, cargo 1.88 or later, a C linker. All other tools go into .venv and target.

.DEFAULT_GOAL := all
# cargo and pytest use all cores; two cargo runs would wait for each other's lock.
.NOTPARALLEL:
.DELETE_ON_ERROR:

PYTHON ?= python3
CARGO ?= cargo
VENV := .venv
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/.krakpot-environment
# The extension of one of two profiles is installed in .venv: `develop` is built in seconds, `release` is what is measured.
DEVELOP := target/.develop
RELEASE := target/.release
RUST := $(shell find rust -path '*/target' -prune -o \( -name '*.rs' -o -name Cargo.toml \) -print | grep -v '^rust/\(fuzz\|godot\)/')
# Two workers: most tests wait for files and sockets, and the extension uses threads. Each begins with its half of the files,
# so that what a file's tests share is made once, and takes over what the other one has left. Large random tests take minutes
# on a busy machine.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal $(if $(filter all,$(KRAKPOT_TEST)),--timeout 900)
CLIPPY := -- -D warnings
FUZZ_TARGETS := decode session orders exchange private
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= $(shell date +%s)

.PHONY: all
all: build quick ## build, and run the quick tests

.PHONY: build
build: $(DEVELOP) ## build the extension into .venv, if something changed

.PHONY: demo
demo: $(DEVELOP) ## record the built-in exchange for ten seconds into ./demo, and prove the recording
	$(BIN)/krakpot demo --out demo

.PHONY: quick
quick: $(DEVELOP)
	$(CARGO) test --quiet
	KRAKPOT_TEST=quick $(PYTEST) --quiet -m 'not slow and not packaging'

.PHONY: test
test: check rust-test $(if $(filter all,$(KRAKPOT_TEST)),check-wasm try-page try-godot) python-test packaging bench-smoke fuzz-smoke $(if $(filter all,$(KRAKPOT_TEST)),check-wheel) ## every test (KRAKPOT_TEST=all: larger random tests, and what is optional)

.PHONY: check
check: $(DEVELOP) ## formatters, linters, types, the stub against the extension, and the rules of the house
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --all-targets $(CLIPPY)
	$(CARGO) clippy --quiet --package krakpot-core --all-targets $(CLIPPY)
	$(CARGO) clippy --quiet --package krakpot-py $(CLIPPY)
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --no-deps
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest krakpot._core
	$(BIN)/python -m pytest --quiet tests/test_tidy.py tests/test_dependencies.py tests/test_dependencies_rust.py

.PHONY: format
format: $(ENVIRONMENT) ## format the code
	$(CARGO) fmt --all
	$(BIN)/ruff format

.PHONY: rust-test
rust-test:
	$(CARGO) test --quiet

.PHONY: python-test
python-test: $(DEVELOP)
	$(PYTEST)

.PHONY: packaging
packaging: $(DEVELOP) $(if $(filter all,$(KRAKPOT_TEST)),wheel) ## build wheel and sdist, install each into an empty environment, and use it
	$(BIN)/python -m pytest -m packaging

.PHONY: wheel
wheel: $(ENVIRONMENT) ## build a stripped manylinux_2_17 wheel into dist (Linux; the linker is PyPI's ziglang)
	$(BIN)/python -m pip install --quiet --group wheel
	rm -f dist/*.whl
	@# maturin looks for ziglang's command and for the Python that has it on the path.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/maturin build --release --locked --strip --zig --compatibility manylinux_2_17 --out dist

.PHONY: check-wheel
check-wheel: wheel ## check the wheel: tags, symbols, metadata, size; install and use it with every Python found
	$(BIN)/python .ci/check_wheel.py dist

# The script touches it when all modules are built. JavaScript counts, because types are made of it.
WASM := target/.wasm
.PHONY: wasm
wasm: $(WASM) ## build krakpot for browsers into web/wasm, if something changed (needs node; scripts/wasm-build says what else)

$(WASM): $(RUST) Cargo.toml Cargo.lock scripts/wasm-build scripts/wasm-toolchain web/package-lock.json web/tsconfig.json $(wildcard web/*.js)
	CARGO='$(CARGO)' scripts/wasm-build

PAGE := target/.page
.PHONY: page
page: $(PAGE) ## build the page with krakpot's core in it: for krakpot view, and dist/page for any static host

$(PAGE): $(WASM) scripts/page-build $(shell find python/krakpot/page -path '*/core' -prune -o -type f -print)
	CARGO='$(CARGO)' scripts/page-build

COMPONENTS := target/.components
.PHONY: components
components: $(COMPONENTS) ## put the parts of the page that the npm package's components draw with beside them

$(COMPONENTS): $(WASM) scripts/components-build $(wildcard python/krakpot/page/src/*.js) python/krakpot/page/style.css
	scripts/components-build

# A machine that lacks a tool for it passes all other tests; the script has said what to install.
.PHONY: try-page
try-page:
	@CARGO='$(CARGO)' scripts/page-build && scripts/components-build || { code=$$?; test $$code = 3 && echo 'the tests of krakpot for browsers are left out' >&2 || exit $$code; }

.PHONY: check-wasm
check-wasm:
	$(CARGO) clippy --quiet --package krakpot-wasm --features exchange $(CLIPPY)
	$(CARGO) clippy --quiet --package xtask $(CLIPPY)

# What Godot loads; without it the addon works in plain GDScript.
EXTENSION := godot/addons/krakpot/bin
GODOT_RUST := rust/godot/Cargo.toml rust/godot/Cargo.lock rust/godot/krakpot.gdextension $(wildcard rust/godot/src/*.rs)
.PHONY: godot
godot: $(EXTENSION)/krakpot.gdextension ## build the core as an extension of Godot 4 into its addon, if something changed (a minute)

# The description comes last: Godot complains of one without its library.
$(EXTENSION)/krakpot.gdextension: $(GODOT_RUST) $(RUST)
	cd rust/godot && $(CARGO) fmt --check && $(CARGO) build --release --locked --quiet
	mkdir -p $(EXTENSION)
	find rust/godot/target/release -maxdepth 1 \( -name 'libkrakpot_godot.so' -o -name 'libkrakpot_godot.dylib' -o -name 'krakpot_godot.dll' \) \
	    -exec cp {} $(EXTENSION)/ \;
	cp rust/godot/krakpot.gdextension $@

# Godot, the virtual screen that its pictures need, and the extension.
.PHONY: try-godot
try-godot:
	@if scripts/godot --screen >/dev/null; then \
	    $(MAKE) --no-print-directory godot && cd rust/godot && $(CARGO) clippy --release --locked --quiet $(CLIPPY); \
	else code=$$?; test $$code = 3 && echo 'the tests of Godot are left out' >&2 || exit $$code; fi

.PHONY: bench
bench: $(RELEASE) ## every benchmark, some thirty minutes; writes docs/benchmarks.md (BEFORE=DIR: the core against an earlier checkout)
	$(BIN)/python bench/report.py $(if $(BEFORE),--before '$(abspath $(BEFORE))')

.PHONY: bench-peers
bench-peers: $(RELEASE) ## other clients on the same frames, each in its environment (PyPI; Python 3.13)
	$(BIN)/python bench/python/peers.py

.PHONY: reliability
reliability: $(RELEASE) ## all faults of the built-in exchange, kills and full disks, a few minutes; writes docs/reliability.md
	$(BIN)/python tests/reliability.py

.PHONY: bench-smoke
bench-smoke: $(DEVELOP)
	cd bench/rust && $(CARGO) bench --quiet -- --test
	$(BIN)/python bench/python/measure.py --small
	$(BIN)/python bench/python/live.py --small
	$(BIN)/python bench/python/burst.py --small
	$(BIN)/python bench/python/trading.py --small
	$(BIN)/python bench/python/orders.py --small
	$(BIN)/python bench/python/paper.py --small
	$(BIN)/python bench/python/viewing.py --small
	$(BIN)/python bench/python/proving.py --small
	$(BIN)/python bench/python/storage.py --small >/dev/null
	$(BIN)/python bench/report.py --before . --small

.PHONY: fuzz
fuzz: $(DEVELOP) ## fuzz core, built-in exchange and recovery, a minute each (FUZZ_SECONDS=60)
	cd rust/fuzz && for target in $(FUZZ_TARGETS); do \
	    $(CARGO) run --release --quiet --bin run -- --target $$target --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED) || exit 1; \
	done
	$(BIN)/python tests/fuzz_journal.py --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	@# The sanitizer's flags are unstable: RUSTC_BOOTSTRAP makes the stable compiler accept them.
	@if $(CARGO) fuzz --version >/dev/null 2>&1; then \
	    cd rust && for target in $(FUZZ_TARGETS); do \
	        mkdir -p fuzz/corpus/$$target; \
	        RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --features libfuzzer $$target fuzz/corpus/$$target fuzz/seeds/$$target \
	            -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	    done; \
	else echo 'coverage-guided fuzzing is left out: it needs cargo-fuzz (cargo install cargo-fuzz)'; fi

.PHONY: fuzz-smoke
fuzz-smoke: $(DEVELOP)
	cd rust/fuzz && $(CARGO) run --release --quiet --bin run -- --seconds 10
	$(BIN)/python tests/fuzz_journal.py --seconds 10

.PHONY: pictures
pictures: $(DEVELOP) ## the pictures of README and docs that show krakpot at work, some minutes (needs Chromium); look at them
	PYTHONPATH=tests $(BIN)/python scripts/pictures.py

.PHONY: audit
audit: $(DEVELOP) ## licences of the dependencies; known vulnerabilities where the tools are installed
	$(BIN)/python .ci/audit.py

.PHONY: clean
clean: ## remove build output; keep .venv, ./demo and every lake
	rm -rf target dist bench/rust/target rust/fuzz/target rust/godot/target $(EXTENSION) web/wasm web/types web/vendor web/components/page python/krakpot/page/core .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f python/krakpot/_core.abi3.so
	find python tests -name __pycache__ -exec rm -rf {} +

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name words; do printf '%-12s %s\n' "$$name" "$$words"; done

# The environment: made once, brought up to date when pyproject.toml changes. `pip install --group` came with pip 25.1.
$(ENVIRONMENT): pyproject.toml
	@PYTHON='$(PYTHON)' CARGO='$(CARGO)' sh .ci/prerequisites
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

# maturin installs the package's dependencies beside it.
SOURCES := $(ENVIRONMENT) $(RUST) Cargo.toml Cargo.lock pyproject.toml
$(DEVELOP): $(SOURCES)
	VIRTUAL_ENV='$(CURDIR)/$(VENV)' PIP_QUIET=1 $(BIN)/maturin develop --profile develop
	rm -f $(RELEASE)
	touch $@

$(RELEASE): $(SOURCES)
	VIRTUAL_ENV='$(CURDIR)/$(VENV)' PIP_QUIET=1 $(BIN)/maturin develop --release
	rm -f $(DEVELOP)
	touch $@
