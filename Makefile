.PHONY: test parity lint fix types docs

test:
	pytest

parity:
	pytest -m parity

lint:
	ruff check .
	ruff format --check .
	lint-imports

fix:
	ruff check --fix .
	ruff format .

types:
	mypy

docs:
	python -m tests.cli_reference > docs/cli.md
