# The tasks of this project. "make" alone lists it.

.DEFAULT_GOAL := help
.PHONY: help run test check build package bench pictures lab-up lab-down

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start it on http://127.0.0.1:3000 (TWARGA_ADDR, TWARGA_DATA_DIR, TWARGA_PROVIDER=vagrant|simulated)
	@scripts/run

test: ## every test: lints, unit, browser, and real machines in the lab
	@scripts/test

check: ## the quick part: formatting, lints, unit tests
	@scripts/check

build: ## release build: the site, and the binary twarga-cloud
	@scripts/setup build
	cargo xtask site --release
	cargo build --release -p twarga-cloud --features ssr

package: build ## a Debian package and a tarball, in target/package
	cargo xtask package

bench: ## benchmarks
	@scripts/setup bench
	cargo bench -p twarga-cloud --features ssr
	cargo xtask site --release
	cargo build --release -p twarga-cloud --features ssr
	node end2end/bench.mjs

pictures: ## retake the pictures of the pages (docs/pictures) that the README shows
	@scripts/setup bench
	cargo xtask site
	cargo build -p twarga-cloud --features ssr
	TWARGA_PICTURES=keep npx playwright test -c end2end --project pictures --grep-invert broken

lab-up: ## start the lab, in which real Vagrant machines run (root on Debian)
	@scripts/lab up

lab-down: ## shut the lab's machines down and end all that runs in it; their disks stay
	@scripts/lab down
