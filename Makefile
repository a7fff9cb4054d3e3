GO ?= go
SOURCES := $(shell find . -name '*.go' -o -name '*.conf' -o -name '*.yaml' -o -name '*.json' | grep -v '^./bin/\|^./lbproof-runs/') go.mod go.sum

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: engine build ## set up, and prove the built-in 1:2:3 nginx in containers
	bin/lbproof test baseline

.PHONY: engine
engine: ## see to it that a Docker engine answers: on Debian, root gets one where there is none
	@tools/engine.sh

.PHONY: build
build: bin/lbproof ## build the one static binary, bin/lbproof

# What lbproof version prints where Go finds no git checkout, as in a source archive.
COMMIT ?= $(shell git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null)
DATE ?= $(shell git log -1 --format=%cs 2>/dev/null)

bin/lbproof: $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.commit=$(COMMIT) -X main.date=$(DATE)' -o $@ ./cmd/lbproof

.PHONY: test
test: engine ## set up, and run all tests: unit, golden, scripts, mutants, containers
	$(GO) test -count=1 -timeout 30m -p 1 -parallel 3 ./...

.PHONY: quick
quick: ## run the tests that need no engine, each with few seeds
	$(GO) test -short ./...

.PHONY: lint
lint: ## vet, staticcheck, gofumpt, and go.mod in order
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@unformatted=$$($(GO) tool gofumpt -l .); [ -z "$$unformatted" ] || { echo "not formatted (go tool gofumpt -w .):"; echo "$$unformatted"; exit 1; }
	$(GO) mod tidy -diff

VULNDB ?= https://vuln.go.dev

.PHONY: vuln
vuln: ## look up what is called in the database of Go's known vulnerabilities, which must be reachable (VULNDB=URL: another one)
	@said=$$($(GO) tool govulncheck -db $(VULNDB) ./... 2>&1); code=$$?; echo "$$said"; \
	case "$$said" in *"fetching vulnerabilities: "* | *"creating client: "*) echo "vuln: the database $(VULNDB) cannot be reached, so nothing was checked: run this where it can, or name a mirror with VULNDB=URL" >&2;; esac; \
	exit $$code

.PHONY: race
race: ## run the tests that need no Docker under the race detector
	$(GO) test -short -race ./...

.PHONY: bench
bench: ## benchmark judging, the history and the envelope
	$(GO) test -run '^$$' -bench . -benchmem ./internal/... ./scenarios/...
	$(GO) test -run '^$$' -bench TenMillion -benchtime 1x -timeout 30m ./cmd/lbproof

.PHONY: bench-peers
bench-peers: ## measure lbproof's engines beside other load generators, which it installs (root, Debian, 20 minutes)
	apt-get install -y --no-install-recommends nginx-light wrk apache2-utils nghttp2-client hey
	tools/peers/install.sh bin/peers
	CGO_ENABLED=0 $(GO) build -o bin/peers/peers ./tools/peers
	bin/peers/peers -tools bin/peers

.PHONY: calibrate
calibrate: ## measure false alarms, power and requests to a verdict by simulation: docs/calibration.md (15 minutes)
	$(GO) run ./tools/calibrate

.PHONY: mutants
mutants: build ## run the real balancers with one line wrong in each, and see that just its promise is refuted (10 minutes)
	$(GO) test -tags mutants -count=1 -timeout 30m -v -run TestRealMutantsOfLaws ./cmd/lbproof

.PHONY: fuzz
fuzz: ## fuzz every configuration reader, the reader of answers and what shows foreign text, for a minute
	for dir in $$(ls -d lbconfigs/*/ | xargs -n1 basename | grep -v testdata); do for f in $$($(GO) test -list '^Fuzz' ./lbconfigs/$$dir | grep ^Fuzz); do \
		$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime 60s -fuzzminimizetime 10x ./lbconfigs/$$dir || exit 1; done; done
	$(GO) test -run '^$$' -fuzz FuzzResponse -fuzztime 60s -fuzzminimizetime 10x ./internal/load
	$(GO) test -run '^$$' -fuzz FuzzWriter -fuzztime 60s -fuzzminimizetime 10x ./internal/plain

.PHONY: clean
clean: ## remove what was built: the binary, the run folders, lbproof's images
	rm -rf bin lbproof-runs
	-docker images -q --filter label=lbproof.source | sort -u | xargs -r docker rmi -f

FAILURES := alerts alerts-nginx backup brown-out certificate dependency failover flapping hang keys move partition queue reload reload-websocket rolling-restart scale scale-websocket session-router slow thundering-return

.PHONY: kills
kills: engine ## kill 60 runs of five kinds at random moments, and see that nothing is left of any a minute later (10 minutes)
	$(GO) test -count=1 -timeout 60m -v -run TestKilledAtAnyMoment ./cmd/lbproof -kills 60

.PHONY: damage
damage: ## test 200 random damages of each kind per file of four run folders, and update docs/damage.md
	$(GO) test -count=1 -run TestDamages ./internal/folder -update

.PHONY: failures
failures: build ## run every failure scenario on its own configuration, and say what each came to and how long it took (15 minutes)
	@begin=$$(date +%s); for s in $(FAILURES); do \
		from=$$(date +%s); bin/lbproof test $$s >/tmp/lbproof-failures.log 2>/tmp/lbproof-failures.err; code=$$?; \
		printf '%-18s exit code %d, %4d s, %s\n' $$s $$code $$(($$(date +%s) - from)) "$$(head -1 /tmp/lbproof-failures.log)"; \
		[ $$code -ne 2 ] && [ $$code -ne 4 ] || { tail -5 /tmp/lbproof-failures.err; exit $$code; }; \
	done; rm -f /tmp/lbproof-failures.log /tmp/lbproof-failures.err; echo "all: $$(($$(date +%s) - begin)) s"

.PHONY: verdicts
verdicts: build ## decide every promise of the built-in configurations on the real balancers, and write docs/verdicts (an hour)
	@mkdir -p docs/verdicts
	$(GO) test -tags verdicts -count=1 -timeout 3h -v -run TestVerdicts ./cmd/lbproof

.PHONY: mutations
mutations: build ## find the lines of the built-in configurations that no experiment tests, and write docs/mutations (hours; goes on where it stopped)
	@mkdir -p docs/mutations
	$(GO) test -tags verdicts -count=1 -timeout 12h -v -run TestMutations ./cmd/lbproof
