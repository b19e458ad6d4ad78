# make demo, make test: everything on a fresh machine, Python 3.11 or newer is all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --disable-pip-version-check -e '.[lab,test]'
SEEDS ?= 100

.PHONY: demo test lint bench simulate kill mutate clean

$(VENV)/ready: pyproject.toml setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=python3.x" if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(VENV) (once: one to two minutes, most of it downloads)"
	@$(PYTHON) -m venv $(VENV)
	@rm -f $@
	@if [ -t 1 ]; then \
	  { $(INSTALL) --progress-bar off && touch $@; } | while IFS= read -r line; do printf '\r\033[K%.76s' "$$line"; done; \
	  printf '\r\033[K'; test -e $@; \
	else $(INSTALL) --quiet && touch $@; fi

demo: $(VENV)/ready  ## bots of seven strategies on the synthetic market, fast forward
	@$(BIN)/botctl demo

test: $(VENV)/ready  ## the whole suite, with real processes, sockets and Redis
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/ready  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

simulate: $(VENV)/ready  ## seeded fault campaigns; a failing seed says how to play it again
	@$(BIN)/python -m tests.simulation.market_tapes --tapes 10000
	@$(BIN)/python -m tests.simulation.policies
	@$(BIN)/python -m tests.simulation.trading --seeds $(SEEDS) --minutes 60 --bots 20

kill: $(VENV)/ready  ## real kills, torn logs, flipped bits, failing disks: prints what it reached
	@$(BIN)/python -m tests.kill
	@BOTD_STOPPED_S=60 $(BIN)/python -m pytest tests/kill/test_stopped_process.py tests/kill/test_failing_disk.py

mutate: $(VENV)/ready  ## small wrong changes to the order table, the gate and the books: which does no test notice?
	@$(BIN)/python -m tests.mutation

bench: $(VENV)/ready  ## figures beside other programs, installed into a venv of their own
	@$(BIN)/python -m tests.bench

clean:
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
