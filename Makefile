.DEFAULT_GOAL := help
.PHONY: help venv dev up down logs ps backup restore clean results check test test-stack campaign format

PYTEST := .venv/bin/python -m pytest

# A setting from the environment, else from .env.
setting = $(or $($(1)),$(shell sed -n 's/^$(1)=//p' .env))
MIRROR := $(call setting,AI_DATA_MIRROR)
COMPOSE := docker compose -f docker-compose.yml $(if $(GPU),-f docker-compose.gpu.yml) \
	$(if $(MIRROR),-f docker-compose.mirror.yml) $(if $(call setting,AI_TASKS_DIR),-f docker-compose.tasks.yml)

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

dev: venv ## All of Volant as processes, without Docker, until Ctrl-C
	@exec .venv/bin/python -m scripts.dev

up: ## All of Volant with Docker Compose; GPU=1 gives it the GPU, SERVICES="ai-api …" starts a part
	@sh scripts/up.sh $(COMPOSE) -- $(SERVICES)

down: ## Stops what `make up` started; its data stays
	@$(COMPOSE) down

logs: ## Follows what the containers say; SERVICES="ai-api …" picks some
	@$(COMPOSE) logs --follow --tail 100 $(SERVICES)

ps: ## What runs, and how it feels
	@$(COMPOSE) ps --all

backup: venv ## Keeps databases, models, pictures and what waits as one set in VOLANT_BACKUPS_DIR, while Volant runs
	@.venv/bin/python -m scripts.backup save -- $(COMPOSE)

restore: venv ## Puts a set into a Volant without data: make restore FROM=backups/…
	@.venv/bin/python -m scripts.backup restore $(if $(FROM),--set $(FROM)) -- $(COMPOSE)

clean: ## Deletes every prediction, model, account and secret of both ways to run; asks first
	@sh scripts/clean.sh $(COMPOSE)

results: venv ## Trains on the real data and writes docs/RESULTS.md; ALL=1 every recipe, AGAIN=1 anew, TASKS="housing …" some
	@.venv/bin/python -m scripts.results $(if $(ALL),--all-recipes) $(if $(AGAIN),--again) $(TASKS)

check: venv ## Lint, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test: venv ## Every test that needs no Docker, two at a time
	$(PYTEST) -n 2 --no-loadscope-reorder --durations 15

test-stack: venv ## Starts the composed stack under a name of its own, drives it from outside, takes it down
	@sh scripts/test_stack.sh

campaign: venv ## The full-size fault, load, loop and training runs: about an hour and a half
	$(PYTEST) -m campaign -s

format: venv ## Formats the code and mends what lint can mend
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

venv:
	@sh scripts/venv.sh
