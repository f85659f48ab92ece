# The one entry point. `make demo` shows the gateway at work; `make test` proves it.

CARGO ?= cargo
PYTHON ?= python3

# The pinned toolchain under another name (a machine that has 1.95.0 only as `stable`) serves as well.
ifneq ($(shell $(CARGO) -V >/dev/null 2>&1 && echo yes),yes)
  ifneq ($(findstring cargo 1.95.0,$(shell $(CARGO) +stable -V 2>/dev/null)),)
    export RUSTUP_TOOLCHAIN := stable
  endif
endif

.PHONY: help setup demo stay build test unit interop fuzz lint bench compare counts deny certs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the build needs, or name it in one line
	@.ci/setup

demo: setup ## everything on loopback: an issuer, a Lightstep emulator, the gateway, callers (STAY=1: keep it running)
	$(CARGO) run --profile demo --locked -- demo $(if $(STAY),--stay)

stay: ## `make demo STAY=1`: the same, kept running, with a console to log in to
	@$(MAKE) --no-print-directory demo STAY=1

build: setup ## the release binary, target/release/lightkeeper
	$(CARGO) build --release --locked

test: setup unit interop ## all tests

unit: setup ## Rust tests: rooms, golden cases over sockets and TLS, tidy
	$(CARGO) test --locked

# The binary that the Rust tests ran: built with them, so that nothing is compiled twice.
interop: setup ## software that others wrote against the real binary
	$(CARGO) test --locked --no-run --quiet
	tests/interop/run

fuzz: ## a minute of cargo-fuzz for each target (nightly); a smoke of the same is in `make unit`
	fuzz/run

lint: setup ## format, clippy and the library's documentation, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --lib --locked

bench: setup ## criterion benches of single operations
	$(CARGO) bench --locked

compare: setup ## CPU time per request beside bare Pingora and Envoy
	benches/compare/run

counts: setup ## instructions per request beside the committed counts (valgrind)
	@if command -v $(PYTHON) >/dev/null; then \
	  $(PYTHON) -m unittest discover --quiet --start-directory benches && benches/instructions --profile demo; \
	else echo "instructions: NOT COUNTED: $(PYTHON) is not here"; echo "instructions: 0 passed, 0 failed, 6 skipped"; fi

deny: setup ## licences, sources, bans and advisories of the dependency tree
	@.ci/deny

certs: setup ## a development CA and leaves under certs/
	$(CARGO) run --profile demo --locked -- certs certs

clean:
	$(CARGO) clean
