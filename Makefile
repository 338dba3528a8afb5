# What there is to type. Tools that the tests need are kept in BERTH_TOOLS.
export BERTH_TOOLS ?= $(HOME)/.cache/berth/tools

# The workloads for which the compiler optimises.
EVERYDAY = ^(manifest (GET|HEAD) by tag c16|manifest GET by tag c16 (htpasswd|tls)|pull of small images c16|tags only c16|re-push of what exists c8|mount c8|push of 10-layer images c8|delete of a manifest c8|CI-like mix c32)$$

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

build: ## bin/berth, one static file
	CGO_ENABLED=0 go build -pgo build/berth.pgo -trimpath -ldflags -w -o bin/berth ./cmd/berth

run: build ## a registry on port 5000, data in ./berth-data
	./bin/berth serve

dist: ## the downloads and the image of a release, in ./dist
	go run ./build/dist

test: ## every test, and before that the tools they need
	test/tools/install.sh
	test/tools/run.sh

race: ## the tests that run quickly, with the race detector (needs a C compiler)
	go test -race -short -timeout 20m ./...

soak: ## every test at its full length, with hundreds of kills and power losses; hours
	test/tools/install.sh
	BERTH_SOAK=1 go test -count=1 -v -timeout 12h ./...

bench: build ## measure Berth against distribution and the least that is possible, on a quiet machine
	test/tools/install.sh
	go run ./bench --out bench/results
	go run ./bench --document

bench-long: build ## the same, with stores of 100,000 tags and repositories, too
	test/tools/install.sh
	go run ./bench --long --out bench/results
	go run ./bench --document

profile: build ## measure anew what Berth is compiled for: build/berth.pgo
	rm -rf bin/profiles
	go run ./bench --contestants berth --rounds 1 --time 3s --profile bin/profiles --only '$(EVERYDAY)'
	go tool pprof -proto -output build/berth.pgo bin/berth bin/profiles/*.pprof

fmt: ## format the Go files
	gofmt -w .

.PHONY: help build run dist test race soak bench bench-long profile fmt
