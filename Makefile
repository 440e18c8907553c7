# Every target works as the only command after `git clone`, on a machine with Python, a C compiler
# and make. PYTHON=python3.13 picks another interpreter, which has a virtual environment of its own.
PYTHON ?= python3
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
NATIVE := src/crewgate/_native src/crewgate/_datapath
# Else every process of a test compiles all modules that it imports: a third of its start.
unexport PYTHONDONTWRITEBYTECODE
SOURCES := $(shell find ext -type f ! -name '*.c')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup npm crewai demo test test-ordinary check lint docs man bench bench-hop bench-live-page bench-cluster simulate isolation power-loss disks container-test soak sanitize fuzz wheels sbom coverage clean

help:  ## print these lines
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

setup: $(STAMPS)/extension  ## make the virtual environment, with the tools and the native core

npm: build/npm/.installed  ## install the MCP clients, and the checkers of the live page, that tests run; needs npm

crewai: build/crewai/.installed  ## install CrewAI, 800 MB, for the test of its example

demo: setup  ## play the incident on real gateways
	@$(BIN)/crewgate demo

# Four at a time keep two cores busy, since some tests wait; tests/conftest.py has the long ones come
# first, so that none is left to run alone.
test: setup  ## run all tests; ARGS="-k name" selects some, CREWGATE_DEPTH=10 repeats them more often
	@$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Other tests send no call that could be straight.
test-ordinary: setup  ## run the end-to-end tests of calls while Python carries every call; minutes
	@CREWGATE_TEST_STRAIGHT=false $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder \
		$(addprefix tests/e2e/,gateway boundary upstream server prices mcp a2a whole) $(ARGS)

# Parts that decide, parse and format: their tests start no gateway, no agent and no database.
PURE := $(addprefix tests/unit/,core config _native _datapath policy leases verifier gateway server upstream issuer)
check: lint  ## before each commit, in about a minute: style, types, layers, tests without a gateway
	@$(BIN)/pytest -q -n 2 --dist loadfile $(addprefix --ignore=tests/unit/_native/,test_stress.py test_faults.py) \
		tests/test_tidy.py tests/docs/test_links.py tests/docs/test_reference.py $(PURE) $(ARGS)

lint: setup  ## style, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@PATH="$(abspath $(BIN)):$$PATH" cython-lint ext  # it looks for pycodestyle there

docs: setup  ## build the documents as HTML in build/docs; a warning is an error
	@$(BIN)/sphinx-build -E -W --keep-going -q -d build/doctrees docs build/docs
	@echo "Wrote build/docs/index.html"

man: setup  ## write the manual pages to build/man; `man -l build/man/man1/crewgate.1` shows one
	@PYTHONPATH=docs $(BIN)/python -m _generate.man build/man
	@echo "Wrote build/man/man1 and build/man/man5"

bench: setup  ## measure decisions and the table; writes bench/results/latest.json
	@$(BIN)/python -m bench $(ARGS)

bench-hop: setup  ## measure a request beside nginx, Envoy and a Python stack; minutes, needs h2load
	@$(BIN)/python -m bench.hop $(ARGS)

bench-live-page: setup  ## measure the live page of 10,000 branches on three machines; minutes
	@$(BIN)/python -m bench.live_page $(ARGS)

bench-cluster: setup  ## measure revocation across three machines, and a storm; minutes
	@$(BIN)/python -m bench.cluster $(ARGS)

simulate: setup  ## simulate the gossip for an hour; ARGS="--revocations 200 --worlds 50"
	@$(BIN)/python tests/support/simulate.py $(ARGS)

isolation: setup  ## check that a tool that breaks HTTP harms no other call; minutes; ARGS="--calls 6"
	@$(BIN)/python tests/support/isolation.py $(ARGS)

power-loss: setup  ## check that a power loss loses nothing acknowledged; root; ARGS="--clones 100"
	@$(BIN)/python tests/support/power_loss.py $(ARGS)

disks: setup  ## test a gateway on full, read-only and dead disks; root; minutes
	@$(BIN)/python tests/support/failing_disks.py $(ARGS)

container-test: setup  ## build the image's root file system, and upgrade a gateway in it; minutes
	@$(BIN)/python tests/support/container_upgrade.py $(ARGS)

soak: setup  ## load a gateway for half an hour and check all sums; ARGS="--seconds 120"
	@$(BIN)/python tests/support/soak.py $(ARGS)

# Beside the real build, in build/sanitize. The runtimes must be loaded before Python's own memory is;
# `malloc` of each object alone lets ASan see where each ends. Python leaks what lives for ever. What
# is compiled by tests that bring their own sanitizer or build is not run here. The end-to-end tests
# run their gateways in the process of the test, or fork them from it, so these are sanitized too.
SANITIZED = build/sanitize/lib
RUNTIMES = $(shell $(or $(CC),cc) -print-file-name=libasan.so):$(shell $(or $(CC),cc) -print-file-name=libubsan.so)
SANITIZED_TESTS = unit/_native unit/_datapath unit/gateway/call \
	$(addprefix e2e/gateway/,$(addprefix test_,straight.py straight_bodies.py straight_chaos.py \
		straight_random.py upstream_http2.py hostile_peers.py)) \
	$(addprefix e2e/server/test_,floods.py hostile.py client_socket.py)
sanitize: setup  ## tests of the native code under ASan and UBSan; the first finding stops them
	@CREWGATE_SANITIZE=1 $(BIN)/python setup.py -q build --build-lib $(SANITIZED) --build-temp build/sanitize/temp
	@PYTHONPATH=$(SANITIZED) LD_PRELOAD=$(RUNTIMES) ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -c \
		'from crewgate._native import gate; assert "sanitize" in gate.__file__, gate.__file__'
	@cd $(SANITIZED) && LD_PRELOAD=$(RUNTIMES) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		PYTHONPATH=$(abspath $(SANITIZED)) \
		$(abspath $(BIN))/pytest -q -p no:cacheprovider -c $(abspath pyproject.toml) --rootdir=$(CURDIR) --timeout=900 \
		$(addprefix --ignore=$(CURDIR)/tests/unit/_native/,test_stress.py test_faults.py) \
		$(addprefix $(CURDIR)/tests/,$(SANITIZED_TESTS)) $(ARGS)

fuzz: setup  ## fuzz the headers of the native core; needs clang; ARGS="--seconds 60 --target token"
	@$(BIN)/python -m fuzz $(ARGS)

# In a virtual environment of its own: a release is made by the tools that its requirements name.
wheels:  ## build the wheels of a release in dist/; ARGS="--python 3.13 --platform manylinux_x86_64"
	@$(PYTHON) -m venv build/wheels/tools
	@build/wheels/tools/bin/python -m pip install -q --disable-pip-version-check -r deploy/wheels/requirements.txt
	@build/wheels/tools/bin/python deploy/wheels/build_wheels.py $(ARGS)

sbom:  ## list the software of a gateway from the wheel in dist/, in dist/crewgate-VERSION.cdx.json
	@$(PYTHON) -m venv build/sbom/tools
	@build/sbom/tools/bin/python -m pip install -q --disable-pip-version-check -r deploy/release/requirements.txt
	@build/sbom/tools/bin/python deploy/release/write_sbom.py

# The extension is built with line tracing for this and built again without afterwards.
coverage: setup  ## run the tests with branch coverage, Python and Cython
	@rm -f .coverage .coverage.* $(STAMPS)/extension
	@touch $(STAMPS)/building
	CREWGATE_TRACE=1 $(BIN)/python setup.py -q build_ext --inplace --force
	$(BIN)/coverage run -m pytest -m "not stress" $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report
	@$(MAKE) --no-print-directory setup

# No script of a package runs, and no lock file is written: package.json pins each version.
# In an environment of its own: it needs other versions of clients than the extra `dev`.
build/crewai/.installed: pyproject.toml | setup
	@$(BIN)/uv venv -q --clear --python $(BIN)/python build/crewai
	@$(BIN)/uv pip compile -q --extra crewai pyproject.toml -o build/crewai/requirements.txt
	@$(BIN)/uv pip install -q --python build/crewai/bin/python -r build/crewai/requirements.txt
	@touch $@

build/npm/.installed: tests/support/package.json
	@mkdir -p build/npm && cp $< build/npm/
	@npm install --prefix build/npm --ignore-scripts --no-package-lock --no-audit --no-fund --silent
	@touch $@

clean:  ## delete the virtual environments and everything that was built
	@rm -rf build dist .venv .venv-* src/*.egg-info $(addsuffix /*.so,$(NATIVE)) .coverage .coverage.*

# A stamp is written when its step is whole; without one the step starts from nothing. A pip that
# was killed may leave half a package, a compiler half a file: then all of that is made anew.
$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Crewgate needs Python 3.11 or newer; try make PYTHON=python3.13")'
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@mkdir -p $(STAMPS) && touch $@

FORGET = if [ -e $(STAMPS)/building ]; then \
	rm -rf build $(addsuffix /*.$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))').so,$(NATIVE)); fi

$(STAMPS)/tools: pyproject.toml $(STAMPS)/venv
	@if [ -e $(STAMPS)/installing ]; then \
		$(PYTHON) -m venv --clear $(VENV) && mkdir -p $(STAMPS) && touch $(STAMPS)/venv $(STAMPS)/building; fi
	@echo "Installing the tools and building the native core"
	@$(FORGET)
	@touch $(STAMPS)/installing $(STAMPS)/building
	@$(BIN)/python -m pip install -q --disable-pip-version-check "setuptools>=77" "cython>=3.1,<4"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[dev]"
	@rm $(STAMPS)/installing $(STAMPS)/building
	@touch $@

$(STAMPS)/extension: setup.py $(SOURCES) $(STAMPS)/tools
	@$(FORGET)
	@touch $(STAMPS)/building
	@$(if $(filter setup.py,$?),rm -rf build/cython)
	@$(BIN)/python setup.py -q build_ext --inplace $(if $(filter setup.py,$?),$(if $(wildcard $@),--force))
	@rm $(STAMPS)/building
	@touch $@
