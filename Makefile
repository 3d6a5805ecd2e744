# What contributors type; CONTRIBUTING.md explains it. Programs are those of the active environment, else of .venv.
ifndef VIRTUAL_ENV
export PATH := $(CURDIR)/.venv/bin:$(PATH)
endif

.PHONY: help test test-all lint crate check docs

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

test: ## Run the fast tests, on all cores.
	pytest -m "not slow" -n auto

test-all: ## Run all tests; those whose server is not installed are skipped.
	pytest -n auto

lint: ## Check style, format, types and imports.
	ruff check .
	ruff format --check .
	mypy
	lint-imports

crate: ## Check the compiled scanner's crate; nothing is done where cargo is not installed.
	if command -v cargo >/dev/null; then cd native && cargo fmt --check && cargo clippy --quiet --all-targets -- -D warnings && cargo test --quiet; fi

check: lint crate ## Run what the gate runs; a server that is not installed is a failure.
	coverage erase
	coverage run -m pytest --require-real --hypothesis-profile=ci -n auto -m "not measured"
	pytest --require-real --hypothesis-profile=ci -m measured
	LOGSTATSD_SCANNER='python' pytest --require-real --hypothesis-profile=ci -n auto -m "not measured"
	python tests/support/coverage_by_room.py

docs: ## Write the tables in docs/ anew from the code.
	python docs/make_commands.py
	python docs/make_formats.py
