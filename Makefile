# SPDX-License-Identifier: GPL-2.0
#
# The verbs of this repository. Sources, builds and logs stay outside of it, in
# CDM_CACHE (~/.cache/cdm); what is missing on the machine gets installed.

BASE ?= v6.12
LANE ?= fast
export BASE BASE_VERSION LANE V KSRC KCONFIG

MAKEFLAGS += --no-print-directory
# The scripts find this repository by their own paths, from any directory.
S := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))scripts/
export CDM_REPO := $(abspath $(S)..)
export CDM_VM := $(S)vm

help: ## what can be done, and this is the default
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18
	@echo
	@echo '  BASE=$(BASE)      kernel base, one of:' $(notdir $(wildcard patches/*))
	@echo '  LANE=$(LANE)       configuration, one of:' \
		$$(sed '/^#/d; s/\t.*//' $(CDM_REPO)/tools/testing/cdm/configs/lanes)
	@echo '  BASE_VERSION=   version of it, as 6.12.117, in place of the pinned one'
	@echo '  KSRC=<dir>      kernel source to use, in place of the package'
	@echo '  V=1             show what the kernel build prints'

ready:
	@$(S)need python

tree: ready ## the kernel source with our files and hooks, in a scratch place
	@$(S)tree && $(S)where tree

kernel: ready ## build the kernel of LANE
	@$(S)kernel

shell: kernel ## a shell in a guest with device memory; "exit" leaves it
	@$(S)vm shell

demo: kernel ## three policies on one small device; DEMO=tenants: two tenants
	@demo=$(CDM_REPO)/tools/testing/cdm/demo/$(or $(DEMO),run).sh; \
	test -f $$demo || { echo "DEMO=$(DEMO): there is DEMO=tenants" >&2; exit 2; }; \
	CDM_BUILD=$$($(S)where programs) CDM_LANE=$(LANE) $$demo \
		$(if $(OUT),--out "$(OUT)")

check: ready ## every check and test; ends with "N passed, N failed"
	@$(S)check

test: ready ## one of them: T=<name>; without T, their names
	@$(S)check $(if $(T),$(T),--list)

bench: ready ## what operations cost, in instructions; BASELINE=<json> compares
	@$(S)bench $(if $(OUT),--out $(OUT)) $(if $(BASELINE),--baseline $(BASELINE))

soak: ready ## tests that go by chance, in the debug lane, for MIN minutes (30)
	@$(S)soak $(or $(MIN),30)

mutants: ready ## take out each hook in turn; some test has to notice; T=--own: change our code
	@$(S)mutants $(T)

refresh: ready ## write what was edited in the tree back to this repository
	@$(S)tree refresh

patches: ready ## a series to mail, with cover letter, in OUT (./out)
	@$(S)series $(or $(OUT),out)

deb: ready ## installable kernel packages of LANE, or of KCONFIG=<file>
	@$(S)deb

stat: ready ## changed lines in existing kernel files, by file
	@$(S)stat

clean: ## remove what was built from this clone
	@$(S)where --clean

.PHONY: help ready tree kernel shell demo check test bench soak mutants refresh patches deb stat clean
