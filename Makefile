.DEFAULT_GOAL := help
.PHONY: help venv venv-dev dev up down logs ps backup restore clean results check quick test test-slow test-stack campaign \
	coverage format lock pin sbom

# Where it is set, as in many containers, each start would compile all libraries again: ten seconds and more.
unexport PYTHONDONTWRITEBYTECODE

PYTEST := .venv/bin/python -m pytest
TWO_AT_A_TIME := -n 2 --no-loadscope-reorder
CAMPAIGNS := faults load loops fuzz training

# A setting of the command line or the environment, else from .env.
setting = $(or $($(1)),$(shell sh scripts/setting.sh $(1)))
COMPOSE = docker compose -f docker-compose.yml $(if $(GPU),-f docker-compose.gpu.yml) \
	$(if $(call setting,AI_DATA_MIRROR),-f docker-compose.mirror.yml) \
	$(if $(call setting,AI_TASKS_DIR),-f docker-compose.tasks.yml) \
	$(if $(wildcard docker-compose.digests.yml),-f docker-compose.digests.yml)

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

dev: venv ## Start all of Volant as processes, without Docker, until Ctrl-C
	@exec .venv/bin/python -m scripts.dev

up: ## Start all of Volant with Docker Compose; GPU=1 gives it the GPU, SERVICES="ai-api …" starts some services
	@sh scripts/up.sh $(COMPOSE) -- $(SERVICES)

down: ## Stop what `make up` started; its data stays
	@$(COMPOSE) down

logs: ## Follow the logs of the containers; SERVICES="ai-api …" picks some
	@$(COMPOSE) logs --follow --tail 100 $(SERVICES)

ps: ## List the containers and the health of each
	@$(COMPOSE) ps --all

backup: venv ## Save databases, models, images and outboxes as one set in VOLANT_BACKUPS_DIR, while Volant runs
	@.venv/bin/python -m scripts.backup save -- $(COMPOSE)

restore: venv ## Restore a set into a Volant without data: make restore FROM=backups/…
	@.venv/bin/python -m scripts.backup restore $(if $(FROM),--set $(FROM)) -- $(COMPOSE)

clean: ## Delete every prediction, model, account and secret of both ways to run; asks first
	@sh scripts/clean.sh $(COMPOSE)

results: venv ## Train on the real data and write docs/RESULTS.md; ALL=1 every recipe, AGAIN=1 anew, TASKS="housing …" some
	@.venv/bin/python -m scripts.results $(if $(ALL),--all-recipes) $(if $(AGAIN),--again) $(TASKS)

check: venv-dev ## Lint, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

quick: venv-dev ## The tests that start no process and train on little data: at most a minute
	$(PYTEST) $(TWO_AT_A_TIME) -m "not process and not training and not slow and not campaign and not composed" $(TESTS)

test: venv-dev ## Every test but the slow ones, the campaigns and those of the composed stack; TESTS=tests/ai picks some
	$(PYTEST) $(TWO_AT_A_TIME) --durations 15 $(TESTS)

test-slow: venv-dev ## The tests that need a browser, a Volant of their own, pipelines or full data
	$(PYTEST) $(TWO_AT_A_TIME) -m slow --durations 15 $(TESTS)

test-stack: venv-dev ## Start the composed stack under a name of its own, test it from outside, take it down
	@sh scripts/test_stack.sh

campaign: venv-dev ## The full-size runs, each part under an hour: PART=faults, load, loops, fuzz or training; without PART all
	@$(if $(filter-out $(CAMPAIGNS),$(PART)),echo "PART must be one of: $(CAMPAIGNS)" >&2 && exit 2)
	$(PYTEST) -m '$(if $(PART),campaign(part="$(PART)"),campaign)' -s $(TESTS)

coverage: venv-dev ## Branch coverage of both services by the tests of `make test`, as a table
	$(PYTEST) $(TWO_AT_A_TIME) --quiet --cov --cov-report=term $(TESTS)

format: venv-dev ## Format the code and fix what the linter can fix
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: venv-dev ## Write constraints.txt, the versions that are installed; UPGRADE=1 takes the newest allowed
	@.venv/bin/python -m scripts.packages.lock $(if $(UPGRADE),--upgrade)

pin: ## Write docker-compose.digests.yml, the digests of all public images, which `make up` then uses
	@sh scripts/packages/pin.sh

sbom: venv ## Write sbom.json, every package and image with its version, in the format CycloneDX
	@.venv/bin/python -m scripts.packages.sbom

venv:
	@sh scripts/packages/venv.sh run

venv-dev:
	@sh scripts/packages/venv.sh dev
