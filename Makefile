.PHONY: test extras parity lint fix types docs mutants

test:
	pytest

parity:
	pytest -m parity

extras:
	pytest -m extras

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
	python -m tests.rooms > docs/images/rooms.svg

mutants:
	python -m tests.mutants $(MODULE)
