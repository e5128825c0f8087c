# The two commands of a newcomer are `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench bench-ami bench-pop bench-data pins clean

help:
	@echo "make demo    a small call centre with real callers, on this machine"
	@echo "make test    all tests"
	@echo "make check   style, types, imports"
	@echo "make bench   measurements, written to bench/results"
	@echo "make clean   remove what setting up and running made"

setup:
	@$(PYTHON) setup/prepare.py demo

demo:
	@$(PYTHON) setup/prepare.py demo
	@$(BIN)/callfloor demo

test:
	@$(PYTHON) setup/prepare.py test
	@$(BIN)/pytest -n 2 --dist loadfile

check:
	@$(PYTHON) setup/prepare.py check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: bench-ami bench-pop

bench-data:
	@$(PYTHON) setup/prepare.py test
	@$(BIN)/python -m bench.data

bench-ami:
	@$(PYTHON) setup/prepare.py check
	@$(BIN)/python -m bench.ami

bench-pop: bench-data
	@$(BIN)/python -m bench.pop

pins:
	@$(PYTHON) setup/pin_requirements.py

clean:
	rm -rf .cache .venv node_modules web/static/vendor var bench/data *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find web/locales -name '*.mo' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
