# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
BIN := .venv/bin

# What depends on the server, on every major version that PostgreSQL mends, and the embedded two.
MATRIX := 13 14 15 16 17 18
MATRIX_TESTS := tests/test_engine_sql.py tests/test_stands.py tests/test_lock.py \
  tests/laws/once tests/laws/rerunning_is_the_recovery tests/test_backup_everything.py \
  tests/test_trace.py tests/test_wording.py tests/test_own_tables.py tests/test_sql_runner.py \
  tests/test_sample_migrations.py tests/test_sample_api.py tests/test_proofs.py \
  tests/test_backup.py tests/test_backup_parallel.py tests/test_lint_catalog.py \
  tests/test_lint_fix.py tests/test_lint_traced.py

# In seconds: all that needs no server, no docker and no network.
CHECKS := format lint types layers units

.PHONY: demo test check $(CHECKS) attacks faults reliability matrix cluster mutants lock clean

demo: .venv/ready
	$(BIN)/python -m sample.demo

# The unit tests have run in `check`.
test: check
	tests/install-parts
	$(BIN)/pytest -n 5 --dist worksteal -m 'not unit'

# Side by side: mypy alone takes as long as the others together.
check: .venv/ready-dev
	@$(MAKE) --no-print-directory --output-sync=target --jobs=2 $(CHECKS)

format:
	$(BIN)/ruff format --check .

lint:
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

layers:
	$(BIN)/lint-imports

# The files that have the mark, and no others: to import all takes as long as these tests.
units:
	$(BIN)/pytest -q -m unit $$(grep -rl 'pytest\.mark\.unit' tests --include='test_*.py')

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	mkdir -p .venv/types && ln -sfn ../../ci .venv/types/pgwindlass
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

# What an attacker would try, counted: tried, held.
attacks: .venv/ready-dev
	tests/install-parts
	WINDLASS_FAULTS=all $(BIN)/pytest -q -n 4 --dist worksteal -m attack tests

matrix: .venv/ready-dev
	tests/install-parts
	tests/install-servers
	$(BIN)/python tests/install-clients
	$(BIN)/pytest -q -n 0 tests/test_lint_forms.py  # prints recall and precision of each
	for major in $(MATRIX) 16,18; do \
	  echo "PostgreSQL $$major"; \
	  WINDLASS_POSTGRES=$$major $(BIN)/pytest -q -n 3 --dist worksteal $(MATRIX_TESTS) || exit 1; \
	done

# The kubectl driver against a real control plane of Kubernetes, which is built once: ten minutes.
CLUSTER := $(abspath $(or $(WINDLASS_CLUSTER),.servers/cluster))

cluster: .venv/ready-dev
	tests/install-parts
	WINDLASS_CLUSTER=$(CLUSTER) tests/install-cluster
	WINDLASS_CLUSTER=$(CLUSTER) $(BIN)/pytest -q -n 0 tests/cluster

# Every kill, crowd and fault, and every case of which the suite plays a sample.
faults: .venv/ready-dev
	tests/install-parts
	WINDLASS_FAULTS=all $(BIN)/pytest -q -n 4 --dist worksteal -m 'not unit' tests

# Every verb hit at every step by every fault, and a thousand random schedules; needs root. The page
# is written whatever they show, and the target fails where anything does not hold.
RESULTS := build/reliability

reliability: .venv/ready-dev
	tests/install-parts
	rm -rf $(RESULTS) && mkdir -p $(RESULTS)
	-WINDLASS_RELIABILITY=$(abspath $(RESULTS)) $(BIN)/pytest -q -n 4 --dist worksteal \
	  tests/reliability/test_matrix.py
	$(BIN)/python -m tests.reliability.page $(RESULTS)
	WINDLASS_RELIABILITY=$(abspath $(RESULTS)) $(BIN)/pytest -q -s -n 4 \
	  tests/reliability/test_schedules.py

# How many changes of the pure modules do the unit tests notice? Fails below 92 %; several minutes.
mutants: .venv/ready-dev
	$(BIN)/python -m tests.mutants

# Resolve anew what the two lock files pin; needs uv.
lock:
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --extra embedded --extra encryption --extra telemetry pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --group dev --extra embedded --extra encryption --extra telemetry pyproject.toml -o requirements-dev.lock

clean:
	rm -rf .venv .windlass build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
