# The two commands of a newcomer are `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check audit bench bench-ami bench-pop bench-load bench-desks bench-routing bench-data soak pins clean

help:
	@echo "make demo    a small call centre with real callers, on this machine"
	@echo "make test    all tests"
	@echo "make check   style, types, imports"
	@echo "make audit   known faults of the packages we stand on (asks the advisory services)"
	@echo "make bench   measurements, written to bench/results"
	@echo "make soak    faults of every kind over living traffic, ten minutes (SOAK_S=3600 for an hour)"
	@echo "make clean   remove what setting up and running made"

setup:
	@$(PYTHON) setup/prepare.py demo

demo:
	@$(PYTHON) setup/prepare.py demo
	@$(BIN)/callfloor demo

test:
	@$(PYTHON) setup/prepare.py test
	@$(BIN)/pytest -n 2 --dist loadfile -m "not long" --durations=12

check:
	@$(PYTHON) setup/prepare.py check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Not part of `make check`: it needs the advisory services, and says so where they are out of reach.
audit:
	@$(PYTHON) setup/audit_packages.py

bench: bench-ami bench-pop bench-load bench-desks bench-routing

bench-data:
	@$(PYTHON) setup/prepare.py test
	@$(BIN)/python -m bench.data

bench-ami:
	@$(PYTHON) setup/prepare.py check
	@$(BIN)/python -m bench.ami

bench-pop: bench-data
	@$(BIN)/python -m bench.pop

bench-load: bench-data
	@$(BIN)/python -m bench.load

bench-desks:
	@$(PYTHON) setup/prepare.py check
	@$(BIN)/python -m bench.desks

bench-routing:
	@$(PYTHON) setup/prepare.py check
	@$(BIN)/python -m bench.routing

soak:
	@$(PYTHON) setup/prepare.py test
	@$(BIN)/pytest -m long
	@$(BIN)/python -m bench.soak

pins:
	@$(PYTHON) setup/pin_requirements.py

clean:
	rm -rf .cache .venv node_modules web/static/vendor var bench/data *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find web/locales -name '*.mo' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
