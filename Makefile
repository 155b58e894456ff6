# Everything that is made goes to out/.

GO         ?= go
FUZZTIME   ?= 30s
BENCHFLAGS ?=
CONFLAGS   ?=
KILLS      ?= 200
IMAGE      ?= hello
ARGS       ?=
SVMFLAGS   ?=

# Modules of their own, beside the root's.
MODULES    := images cmd/pvrun-net cmd/pvrun-serve function test/e2e/programs test/e2e/tested test/function/programs
STATIC     := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# The race detector needs cgo, and so a C compiler.
RACE       := $(shell command -v cc >/dev/null 2>&1 && echo -race)
KVMREPORT  := $(CURDIR)/out/kvm-report.txt

.PHONY: help build images run test test-proc e2e network test-svm durability fuzz bench conformance sample sample-trap sample-proc trade-off fmt vet lint golden check ci clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## out/pvrun, out/pvrun-net and out/pvrun-serve
	CGO_ENABLED=0 $(GO) build -trimpath -o out/pvrun ./cmd/pvrun
	CGO_ENABLED=0 $(GO) build -C cmd/pvrun-net -trimpath -o ../../out/pvrun-net .
	CGO_ENABLED=0 $(GO) build -C cmd/pvrun-serve -trimpath -o ../../out/pvrun-serve .

images: build ## out/NAME.img for each program of images/
	@set -e; for main in images/*/main.go; do \
		dir=$${main%/main.go}; name=$${dir#images/}; rootfs=; \
		if [ -d $$dir/rootfs ]; then rootfs="--rootfs $$dir/rootfs"; fi; \
		echo "out/$$name.img"; out/pvrun build -o out/$$name.img $$rootfs ./$$dir; \
	done

run: build ## run IMAGE=hello of images/ in a VM, with ARGS=
	@out/pvrun run $(if $(wildcard images/$(IMAGE)/rootfs),--rootfs images/$(IMAGE)/rootfs) ./images/$(IMAGE) $(ARGS)

test: vet ## all tests; says at the end whether KVM was tested
	@mkdir -p out; rm -f $(KVMREPORT)
	@status=0; \
	echo "$(GO) test $(RACE) ./..."; \
	PVRUN_KVM_REPORT=$(KVMREPORT) $(GO) test -count=1 -timeout 15m $(RACE) ./... || status=$$?; \
	echo "PVRUN_ENGINE=proc $(GO) test -short ./test/guests"; \
	PVRUN_ENGINE=proc $(GO) test -count=1 -timeout 15m -short $(RACE) ./test/guests || status=$$?; \
	for dir in cmd/pvrun-net cmd/pvrun-serve function; do (cd $$dir && PVRUN_KVM_REPORT=$(KVMREPORT) $(GO) test -count=1 -timeout 5m $(RACE) ./...) || status=$$?; done; \
	echo; \
	if grep -q '^KVM NOT TESTED' $(KVMREPORT) 2>/dev/null || ! grep -q '^KVM tested' $(KVMREPORT) 2>/dev/null; then \
		echo '*** KVM NOT TESTED: no machine was run ***'; cat $(KVMREPORT) 2>/dev/null; \
	else \
		awk '{ n += $$(NF-1) } END { printf "KVM tested: %d machines were run\n", n }' $(KVMREPORT); \
	fi; \
	if [ -z "$(RACE)" ]; then echo 'race detector: not used, there is no C compiler'; fi; \
	exit $$status

test-proc: ## the tests that run machines, with processes in their place
	PVRUN_ENGINE=proc $(GO) test -count=1 -timeout 15m ./internal/vmtest ./test/guests ./test/e2e

e2e: ## only the tests of the pvrun command
	$(GO) test -count=1 ./test/e2e

network: ## test/network at full length
	$(GO) test -count=1 -v -timeout 30m ./test/network -long

test-svm: ## host tests under kvm-amd, in a PC that QEMU emulates; SVMFLAGS="-suite hv -run NAME"
	@$(GO) build -o out/svm/svm ./test/svm
	@nice out/svm/svm $(SVMFLAGS)

durability: ## kv, sql and lsm killed KILLS=200 times each while they write, and more
	$(GO) test -count=1 -v -timeout 3h ./test/durability -kills $(KILLS) -databases kv,sql,lsm

fuzz: ## every fuzz target for FUZZTIME=30s
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			echo "$$(dirname $$file) $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file); \
		done; \
	done

bench: ## programs in a machine beside the same on the host, and the modes; BENCHFLAGS="-run NAME"
	$(GO) run ./test/bench $(BENCHFLAGS)

trade-off: build ## pvrun compare into docs/trade-off.md and out/trade-off.html
	out/pvrun compare -o json > out/compare.json
	$(GO) run ./test/tradeoff -page out/trade-off.html < out/compare.json

# What a result depends on has the hash of this pvrun in it, so no commit's name.
conformance: ## other people's tests, here and natively, into docs/conformance.md; CONFLAGS=-help
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o out/conformance/pvrun ./cmd/pvrun
	@$(GO) build -o out/conformance/conformance ./test/conformance
	@out/conformance/conformance $(CONFLAGS)

sample: ## some packages of the standard library, their own tests in the machine
	@$(MAKE) --no-print-directory conformance CONFLAGS='-sample $(CONFLAGS)'

sample-trap: ## the same packages in trap mode
	@$(MAKE) --no-print-directory sample CONFLAGS='-vm="--mode trap -m 4g" $(CONFLAGS)'

sample-proc: ## the same packages, by the process engine
	@$(MAKE) --no-print-directory sample CONFLAGS='-vm="--engine proc" $(CONFLAGS)'

fmt: ## gofmt all sources
	gofmt -w $$(git ls-files "*.go")

# The guest makes pointers of addresses: it is what hands out memory.
vet: ## gofmt and go vet find nothing
	@bad=$$(gofmt -l $$(git ls-files "*.go")); if [ -n "$$bad" ]; then echo "not formatted (make fmt):"; echo "$$bad"; exit 1; fi
	$(GO) vet $$($(GO) list ./... | grep -v /pvrun/guest)
	$(GO) vet -unsafeptr=false ./guest/...
	@set -e; for dir in $(MODULES); do (cd $$dir && echo "$(GO) vet ./... # $$dir" && $(GO) vet ./...); done
	cd function && $(GO) vet -tags pvrun ./...

# In the guest, where assembly calls what Go does not, and in structures of the
# kernel's, unused is no finding. The programs of test/e2e do wrong on purpose.
lint: ## staticcheck finds nothing
	$(GO) run $(STATIC) -checks inherit,-U1000 ./...
	$(GO) run $(STATIC) $$($(GO) list ./... | grep -v -e /pvrun/guest -e /hv/kvm -e /hv/proc -e /test/bench)
	cd images && $(GO) run $(STATIC) ./...
	cd cmd/pvrun-net && $(GO) run $(STATIC) ./...
	cd cmd/pvrun-serve && $(GO) run $(STATIC) ./...
	cd function && $(GO) run $(STATIC) ./... && $(GO) run $(STATIC) -tags pvrun ./...

golden: ## write the golden files anew; look at the difference before you commit it
	$(GO) test -count=1 ./cmd/pvrun ./hypercall ./internal/compare ./internal/load ./test/conformance ./test/e2e -update

check: lint test ## what must pass before a commit

ci: ## what CI does, in a fresh clone
	.ci/run

clean: ## remove out/
	rm -rf out
