# Codex Gateway. `make help` lists the targets; CI runs `make lint test` and nothing else.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULES  := events pkg services/edge services/worker services/reconciler services/notifier services/standalone test
SERVICES := edge worker notifier reconciler
PACKAGES := $(addsuffix /...,$(addprefix ./,$(MODULES)))
CODEX    := $(shell cat services/worker/codexversion/version)
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Without it Cloud Storage brings the whole of xDS: 13 MB.
TAGS     := disable_grpc_modules
GOFLAGS_BUILD := -trimpath -tags $(TAGS) -ldflags '-s -w -X codexgateway.dev/pkg/chassis.version=$(VERSION)'
CODEX_STAMP := .codex-cli/.installed-$(CODEX)
FUZZTIME ?= 30s

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(CODEX_STAMP) ## Install the pinned Codex CLI into .codex-cli/

$(CODEX_STAMP): services/worker/codexversion/version
	@command -v npm >/dev/null || { echo 'npm is missing: install Node.js 20 or newer, it brings the Codex CLI' >&2; exit 1; }
	mkdir -p .codex-cli
	npm install --prefix .codex-cli --no-audit --no-fund --no-save --package-lock=false --loglevel=error @openai/codex@$(CODEX)
	@found=$$(.codex-cli/node_modules/.bin/codex --version); [ "$$found" = "codex-cli $(CODEX)" ] \
		|| { echo "wanted codex-cli $(CODEX), npm installed $$found" >&2; exit 1; }
	@rm -f .codex-cli/.installed-*; touch $@

NPM_STAMP := test/npm/node_modules/.package-lock.json

.PHONY: npm
npm: $(NPM_STAMP) ## Install the npm packages that the tests use into test/npm/node_modules

$(NPM_STAMP): test/npm/package.json test/npm/package-lock.json
	@command -v npm >/dev/null || { echo 'npm is missing: install Node.js 20 or newer' >&2; exit 1; }
	cd test/npm && npm ci --loglevel=error
	@touch $@

.PHONY: build
build: ## Build bin/{edge,worker,notifier,reconciler,codexgw}
	go build $(GOFLAGS_BUILD) -o bin/codexgw ./services/standalone/cmd/codexgw
	@# Separate services are static programs: their images hold nothing else.
	for s in $(SERVICES); do CGO_ENABLED=0 go build $(GOFLAGS_BUILD) -o bin/$$s ./services/$$s/cmd/$$s; done

.PHONY: demo
demo: setup build ## One command from nothing to a finished job: gateway, Codex, streamed run, diff
	@scripts/demo

.PHONY: up
up: setup build ## Run the gateway here (mock model unless OPENAI_API_KEY is set)
	@scripts/up

# It tells at the end what failed and what that printed: between the lines of
# hundreds of tests that pass, nobody finds it.
GOTEST := .bin/gotestsum --format testname --format-icons text --
# Suites within suites are told when they fail.
BRIEF := grep -vE '^PASS [^ ]*/[^/ ]*\.Test[^/]*/[^/]*/'

# Skaffold's own schema of skaffold.yaml is not part of this repository.
SKAFFOLD_SCHEMA := $(wildcard $(CURDIR)/../shared/data/skaffold-v4beta13.schema.json)

.PHONY: test
test: setup npm build modules .bin/gotestsum ## Every test: unit, conformance and end to end on both platforms
	@echo '== unit tests'
	CODEXGW_TEST_SKAFFOLD_SCHEMA=$(SKAFFOLD_SCHEMA) \
	CODEXGW_TEST_CODEX="$$(ls -d $(CURDIR)/.codex-cli/node_modules/@openai/codex-*/vendor/*/bin/codex | head -n 1)" \
	.bin/gotestsum --format-icons text --format-hide-empty-pkg -- -race -shuffle=on -timeout 30m -tags $(TAGS) $$(go list $(PACKAGES) | grep -vE '^codexgateway.dev/(test/(e2e|documents)|pkg/(embedded|gcp))')
	@echo '== OpenRPC, OpenAPI and AsyncAPI documents against their meta-schemas'
	$(GOTEST) -count=1 -timeout 10m ./test/documents
	@echo '== conformance suites on the embedded platform: documents, bus, secrets, platform'
	$(GOTEST) -race -shuffle=on -timeout 30m ./pkg/embedded/... | $(BRIEF)
	go run -tags $(TAGS) ./test/emulators $(MAKE) --no-print-directory test-platforms

# The suites on Google Cloud wait a lot, so they run beside a leg of the end-to-end
# tests; each line says whose it is. The two legs run one after the other: both
# fill a small machine, and on one that is too busy leases are lost.
.PHONY: test-platforms
test-platforms:
	$(MAKE) --no-print-directory --jobs=2 test-embedded test-conformance
	$(MAKE) --no-print-directory test-services

E2E := CODEXGW_TEST_BIN=$(CURDIR)/bin $(GOTEST) -race -shuffle=on -count=1 -timeout 30m -tags $(TAGS) ./test/e2e

.PHONY: test-embedded
test-embedded:
	@echo '== end to end on the embedded platform with codex-cli $(CODEX)'
	CODEXGW_TEST_PLATFORM=embedded $(E2E) | $(BRIEF) | sed -u 's/^/embedded: /'

.PHONY: test-conformance
test-conformance:
	@echo '== conformance suites on Google Cloud: documents, bus, blobs, secrets, platform'
	$(GOTEST) -race -shuffle=on -timeout 30m -tags $(TAGS) ./pkg/gcp/... | $(BRIEF) | sed -u 's/^/gcp suites: /'

.PHONY: test-services
test-services:
	@echo '== end to end on Google Cloud, services apart, with codex-cli $(CODEX)'
	CODEXGW_TEST_PLATFORM=gcp $(E2E) | $(BRIEF) | sed -u 's/^/gcp: /'

PLATFORM ?= embedded

.PHONY: e2e
e2e: setup npm build .bin/gotestsum ## Only the end-to-end tests, on PLATFORM=embedded or gcp
	CODEXGW_TEST_PLATFORM=$(PLATFORM) $(E2E)

.PHONY: modules
modules: ## Check that each module builds alone, is tidy, and builds for macOS
	@# go list -export compiles as go build does, and links nothing: make build links
	@# for this system.
	@for m in $(MODULES); do \
		echo "== $$m"; \
		(cd $$m && export GOWORK=off && go list -export -tags $(TAGS) ./... >/dev/null && go mod tidy -diff && GOOS=darwin go build -tags $(TAGS) ./...); \
	done

.PHONY: lint
lint: .bin/golangci-lint ## Linters, architecture rules and the proof that the rules bite
	.bin/golangci-lint config verify
	.bin/golangci-lint run --allow-parallel-runners $(PACKAGES)
	tools/lintproof/prove .bin/golangci-lint

.bin/golangci-lint: tools/go.mod tools/go.sum
	cd tools && GOWORK=off GOBIN=$(CURDIR)/.bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

.bin/gotestsum: tools/go.mod tools/go.sum
	cd tools && GOWORK=off GOBIN=$(CURDIR)/.bin go install gotest.tools/gotestsum
	@touch $@

.PHONY: bench
bench: setup build ## Measure: one JSON line a figure
	@go run ./test/bench

SEED   ?= 1
LENGTH ?= 5m
CHAOS  ?=

.PHONY: chaos
chaos: ## Kill everything, lose nothing: SEED=1 LENGTH=5m PLATFORM=embedded CHAOS='more flags'
	go build -tags $(TAGS) -o bin/chaos ./test/chaos
	bin/chaos -platform $(PLATFORM) -seed $(SEED) -length $(LENGTH) $(CHAOS)

.PHONY: chaos-proof
chaos-proof: ## The campaign must notice a broken fence: it fails if nothing was found
	go build -tags $(TAGS) -o bin/chaos ./test/chaos
	bin/chaos -seed $(SEED) -length 45s -only freeze_worker -gap 1s -skew 0 -settle 15s -break-fence -must-fail

.PHONY: compose-test
compose-test: build ## Build the images, bring docker-compose.yml up, run a job, kill a worker, go down
	@scripts/compose-test

.PHONY: cost
cost: ## What jobs and an idle month cost on Google Cloud besides compute, counted on the emulators
	go run -tags $(TAGS) ./test/emulators go run -tags $(TAGS) ./test/cost

.PHONY: model
model: ## Check the Promela models of the job protocol (needs spin and gcc)
	@docs/model/check

.PHONY: attack
attack: ## Hostile requests over HTTP, WebSocket and raw sockets against the edge (make test has a shorter run)
	go test -race -count=1 -timeout 20m -tags $(TAGS) ./test/attack -v -attack.rounds=10 -attack.idle | grep -vE '^(=== |\s+--- PASS)'

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (default 30s)
	@for pkg in $$(go list -tags $(TAGS) $(PACKAGES)); do \
		for target in $$(go test -tags $(TAGS) -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; go test -tags $(TAGS) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; done

.PHONY: docs
docs: ## Regenerate docs/reference from the code
	go test -tags $(TAGS) ./services/edge -run '^TestDocumentsAreTheReference$$' -count=1 -update
	go test -tags $(TAGS) ./services/edge -run '^TestParamsOnlyGrowAtTheEnd$$' -count=1 -update
	go run -tags $(TAGS) ./test/docgen

.PHONY: clean
clean: ## Remove what make made
	rm -rf bin .bin .codex-cli test/npm/node_modules
