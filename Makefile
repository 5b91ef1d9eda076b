.DEFAULT_GOAL := help
.PHONY: help demo release test fuzz bench bench-all profile check sbom tools

# What tests/install put there.
export PATH := $(CURDIR)/target/interop/bin:$(PATH)

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# As `make test` builds it: optimized dependencies, no link-time optimization.
demo: ## Play the stories on loopback; ARGS=--serve leaves it running
	cargo run --locked -- demo $(ARGS)

release: ## Build target/keybound as the image has it; takes some ten minutes
	benches/profile/build

# Most tests wait: for programs that start, for elections, for time to pass.
test: export RUST_TEST_THREADS ?= $(shell cores=$$(nproc); echo $$((cores > 4 ? cores : 4)))
test: tools ## Install what the tests need, then run all of them
	cargo test --locked
	cargo test --locked --config tests/optimized.toml --test conformance --test known_key
	cargo test --locked --features models --lib -- models::

fuzz: ## Run each fuzz target for a moment; ARGS="htu 600" runs one for ten minutes
	fuzz/run $(or $(ARGS),all 10)

bench: tools release ## Measure Keybound beside its peers; ARGS="--only DPoP --rounds 3" measures less
	@benches/install
	cargo bench --locked --bench proxy -- --keybound target/keybound $(ARGS)

bench-all: bench ## The same, then growth, the replay log, what replicas share, and each station by itself
	cargo bench --locked --bench proxy -- --keybound target/keybound --growth
	cargo bench --locked --features simulation --bench scale
	cargo bench --locked --features simulation --bench replay
	cargo bench --locked --features simulation --bench stations

profile: tools ## Record benches/profile/keybound.profdata anew, with the compiler of the Dockerfile
	@benches/install
	benches/profile/record

check: tools ## Formatting, lints, documentation, licenses, advisories and the direction of imports
	cargo fmt --check
	cargo clippy --all-targets --all-features --locked -- -D warnings
	cargo clippy --features simulation,fuzzing --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --quiet
	cargo fetch --locked
	cargo deny --locked $(deny) check
	cargo audit --deny warnings $(audit)
	cargo test --locked --test house

sbom: ## Write target/keybound.cdx.json: what the program is made of (CycloneDX)
	command -v cargo-cyclonedx >/dev/null || cargo install --locked --debug cargo-cyclonedx
	cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --override-filename keybound.cdx
	mv keybound.cdx.json target/

tools:
	@tests/install

# Where there is a copy of the RustSec database, no network is needed for it.
archive := $(wildcard ../shared/advisory-db.tar.gz)
ifneq ($(archive),)
# The place where cargo-deny looks for the database of its default address; it wants a repository there.
database := target/advisory-db/advisory-db-3157b0e258782691
deny := --offline
audit := --no-fetch --stale --db $(database)

check: $(database)

$(database): $(archive)
	rm -rf $@ && mkdir -p $@
	tar --extract --file $< --directory $@
	git -C $@ init --quiet
	git -C $@ add .
	git -C $@ -c user.name=keybound -c user.email= commit --quiet --message 'RustSec database'
	touch $@
endif
