.PHONY: check test race untuned test-all cli fuzz bench peers tricks explore crash powercut linear model model-full mutants soak earlier

BEFORE_DEADLINES = fa8fde7131193512eca4b83aa27c8e173878eee9

check: ## vet and lint, as CI does; tools is no module of go.work, which says why
	go vet work
	for os in darwin windows; do GOOS=$$os go vet ./... ./cmd/kvstore/... || exit 1; done
	GOARCH=386 go vet ./... ./cmd/kvstore/...
	GOWORK=off go build -C tools -o ../bin/ tool
	bin/golangci-lint run
	bin/staticcheck ./...
	GOWORK=off go run -C tools ./columns "$(CURDIR)"
	cd cmd/kvstore && ../../bin/golangci-lint run
	cd mutants && go run . -check && ../bin/golangci-lint run
	cd model && ../bin/golangci-lint run
test:
	go test ./...
race:
	go test -race ./...
untuned: ## all tests with the speed tricks of internal/tuning off, or with those in OFF=linger,zeros: they must be only speed
	go test -ldflags='-X kvstore/internal/tuning.off=$(or $(OFF),all)' ./...
test-all: ## the tests of all modules
	go test work
cli: ## the command's own tests
	go test -race ./cmd/kvstore/...
fuzz: ## EXECS inputs each; a count, since Go before 1.27 may report the end of a fuzzing time as a failure (go.dev/issue/75804)
	for p in . ./internal/format; do for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do \
		go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(EXECS),150000)x -fuzzminimizetime 10x $$p || exit 1; done; done
bench:
	go test -run '^$$' -bench . -benchmem .
peers: ## beside other stores, into docs/BENCHMARKS.md; one to two hours
	cd bench && go run . -out ../docs
tricks: ## what each speed trick is worth; TRICKS=linger,zeros for some of them; about two hours
	cd bench && go run . -tricks $(or $(TRICKS),each)
crash: ## 200 cycles of SIGKILL under load
	KVSTORE_CRASH_CYCLES=$(or $(CYCLES),200) go test -race -run '^TestKill' -count 1 -timeout 20m -v ./tests
explore: ## a million crash states
	KVSTORE_STATES=$(or $(STATES),1000000) go test -run '^TestExploreCrashes$$' -count 1 -timeout 2h -v .
powercut: ## 300 power cuts of a real file system; needs root
	KVSTORE_REQUIRE_LAYERS=1 KVSTORE_POWER_CUTS=$(or $(CUTS),300) go test -run '^TestPowerCut|^TestLimit|^TestMemory' -count 1 -timeout 2h -v ./tests
earlier: ## a build from before keys had deadlines opens what this one writes; it is built from the history of the repository
	git cat-file -e $(BEFORE_DEADLINES)^{commit} 2>/dev/null || git fetch --unshallow
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && git archive $(BEFORE_DEADLINES) | tar -x -C "$$dir" && \
	(cd "$$dir/cmd/kvstore" && GOWORK=off go build -o "$$dir/kvstore" .) && \
	KVSTORE_EARLIER="$$dir/kvstore" go test -run '^TestEarlierBuild' -count 1 -v ./tests
linear: ## linearizability of recorded histories
	go test -race -count 1 ./linear/...
model: ## the recovery protocol, exhaustively within small bounds; each mistake planted in it must be refuted
	cd model && go test -count 1 ./...
model-full: ## the same within wider bounds and at random, and the design of what comes; ten minutes
	cd model && go run . -full && go run . -full -next
mutants: ## planted faults, each of which must be killed
	cd mutants && go run .
soak: ## a night's worth
	$(MAKE) explore STATES=50000000
	$(MAKE) powercut CUTS=10000
	KVSTORE_CRASH_CYCLES=5000 go test -race -run '^TestKill' -count 1 -timeout 8h -v ./tests
	$(MAKE) fuzz EXECS=10000000
