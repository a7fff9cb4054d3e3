GO ?= go
SOURCES := $(shell find . -name '*.go' -o -name '*.conf' -o -name '*.yaml' -o -name '*.json' | \
	grep -v '^./bin/\|^./lbproof-runs/') go.mod go.sum

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: engine build ## set up Docker and prove the built-in nginx with weights 1:2:3
	bin/lbproof test baseline

.PHONY: engine
engine: ## check that Docker answers; on Debian, as root, install and start it if needed
	@tools/engine.sh

.PHONY: build
build: bin/lbproof ## build the static binary bin/lbproof

# For lbproof version if Go records no VCS data, e.g. in a source archive.
COMMIT ?= $(shell git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null)
DATE ?= $(shell git log -1 --format=%cs 2>/dev/null)

bin/lbproof: $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.commit=$(COMMIT) -X main.date=$(DATE)' -o $@ ./cmd/lbproof

IMAGES := nginx haproxy traefik postgres redis prometheus nginx-exporter

.PHONY: images
images: engine build ## get the images that tests need and that are not here (minutes, once)
	@bin/lbproof pull --missing $(IMAGES)

.PHONY: test
test: images ## set up Docker and run all tests: unit, golden, script, mutant and container tests
	$(GO) test -count=1 -timeout 30m -p 1 -parallel 3 ./...

.PHONY: quick
quick: ## run the tests without Docker, with few seeds
	$(GO) test -short ./...

.PHONY: lint
lint: ## run vet, staticcheck and gofumpt, and check go.mod
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@unformatted=$$($(GO) tool gofumpt -l .); \
	[ -z "$$unformatted" ] || { echo "not formatted (go tool gofumpt -w .):"; echo "$$unformatted"; exit 1; }
	$(GO) mod tidy -diff

VULNDB ?= https://vuln.go.dev

.PHONY: vuln
vuln: ## check for known Go vulnerabilities (needs network access to VULNDB, default https://vuln.go.dev)
	@output=$$($(GO) tool govulncheck -db $(VULNDB) ./... 2>&1); code=$$?; echo "$$output"; \
	case "$$output" in *"fetching vulnerabilities: "* | *"creating client: "*) \
		echo "vuln: cannot reach the database $(VULNDB), so nothing was checked;" \
			"run this with network access, or set VULNDB to a mirror" >&2;; esac; \
	exit $$code

.PHONY: race
race: ## run the tests without Docker, with the race detector
	$(GO) test -short -race ./...

.PHONY: bench
bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./internal/... ./scenarios/...
	$(GO) test -run '^$$' -bench TenMillion -benchtime 1x -timeout 30m ./cmd/lbproof

.PHONY: bench-peers
bench-peers: ## compare lbproof's load engines with other load generators, which it installs (root, Debian, 20 minutes)
	apt-get install -y --no-install-recommends nginx-light wrk apache2-utils nghttp2-client hey
	tools/peers/install.sh bin/peers
	CGO_ENABLED=0 $(GO) build -o bin/peers/peers ./tools/peers
	bin/peers/peers -tools bin/peers

.PHONY: calibrate
calibrate: ## print simulated error rates, power and sample sizes, as in docs/calibration.md (15 minutes)
	$(GO) run ./tools/calibrate

.PHONY: mutants
mutants: build ## run real balancers with one wrong line each: only its claim must be refuted (10 minutes)
	$(GO) test -tags mutants -count=1 -timeout 30m -v -run TestRealMutantsOfLaws ./cmd/lbproof

.PHONY: fuzz
fuzz: ## fuzz configuration readers, the HTTP response parser and the quoting of text, a minute each
	for dir in $$(ls -d lbconfigs/*/ | xargs -n1 basename | grep -v testdata); do \
		for f in $$($(GO) test -list '^Fuzz' ./lbconfigs/$$dir | grep ^Fuzz); do \
		$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime 60s -fuzzminimizetime 10x ./lbconfigs/$$dir || exit 1; done; done
	$(GO) test -run '^$$' -fuzz FuzzResponse -fuzztime 60s -fuzzminimizetime 10x ./internal/load
	$(GO) test -run '^$$' -fuzz FuzzWriter -fuzztime 60s -fuzzminimizetime 10x ./internal/plain

.PHONY: clean
clean: ## remove the binary, the run folders and the images that lbproof has built
	rm -rf bin lbproof-runs
	-docker images -q --filter label=lbproof.source | sort -u | xargs -r docker rmi -f

FAILURES := alerts alerts-nginx backup brown-out certificate dependency failover flapping hang keys move partition \
	queue reload reload-websocket rolling-restart scale scale-websocket session-router slow thundering-return

.PHONY: kills
kills: engine ## kill 60 runs at random moments: nothing must be left a minute later (10 minutes)
	$(GO) test -count=1 -timeout 60m -v -run TestKilledAtAnyMoment ./cmd/lbproof -kills 60

.PHONY: damage
damage: ## test 200 random damages of each kind per file of four run folders, and update docs/damage.md
	$(GO) test -count=1 -run TestDamages ./internal/folder -update

.PHONY: failures
failures: build ## run every failure scenario and print its result and duration (15 minutes)
	@begin=$$(date +%s); for s in $(FAILURES); do \
		from=$$(date +%s); bin/lbproof test $$s >/tmp/lbproof-failures.log 2>/tmp/lbproof-failures.err; code=$$?; \
		printf '%-18s exit code %d, %4d s, %s\n' $$s $$code $$(($$(date +%s) - from)) \
			"$$(head -1 /tmp/lbproof-failures.log)"; \
		[ $$code -ne 2 ] && [ $$code -ne 4 ] || { tail -5 /tmp/lbproof-failures.err; exit $$code; }; \
	done; rm -f /tmp/lbproof-failures.log /tmp/lbproof-failures.err; echo "all: $$(($$(date +%s) - begin)) s"

.PHONY: verdicts
verdicts: build ## judge every built-in configuration on real balancers, and update docs/verdicts (an hour)
	@mkdir -p docs/verdicts
	$(GO) test -tags verdicts -count=1 -timeout 3h -v -run TestVerdicts ./cmd/lbproof

.PHONY: mutations
mutations: build ## find untested lines of the built-in configurations, and update docs/mutations (hours; resumable)
	@mkdir -p docs/mutations
	$(GO) test -tags verdicts -count=1 -timeout 12h -v -run TestMutations ./cmd/lbproof
