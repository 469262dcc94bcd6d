.PHONY: check test race fuzz bench crash

check: ## vet and lint, as CI does
	go vet ./...
	GOOS=darwin go vet ./... && GOOS=windows go vet ./... && GOARCH=386 go vet ./...
	go build -C tools -o ../bin/ tool
	bin/golangci-lint run
	bin/staticcheck ./...
test:
	go test ./...
race:
	go test -race ./...
fuzz: ## FUZZTIME=30s each
	for f in $$(go test -list '^Fuzz' . | grep ^Fuzz); do go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 10x . || exit 1; done
bench:
	go test -run '^$$' -bench . -benchmem .
crash: ## 200 cycles of SIGKILL under load
	KVSTORE_CRASH_CYCLES=200 go test -race -run 'Crash|Kill' -count 1 -timeout 20m -v .
