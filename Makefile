# make test         build, install into .venv, and run all tests of behavior: three minutes
# make test-all     the entire suite: real services, browsers, memory, the distributions, and three
#                   times as many generated inputs
# make demo         build, install into .venv, and serve examples/quickstart.py
# make lint         ruff and cython-lint
# make typing       mypy, pyright and stubtest on the installed stubs
# make coverage     make test with line tracing in the .pyx, in a separate environment
# make asan         make test on a build with AddressSanitizer and UndefinedBehaviorSanitizer (gcc)
# make debug        make test on a build without optimization, with all assertions and checks
# make fuzz         coverage-guided fuzzing for SECONDS=60; requires clang, see tests/fuzz/README.md
# make load         Hypercorn and uvicorn under load, with outages of Redis: four phases of
#                   SECONDS=60; then SESSIONS=10000 sessions on two workers, with outages of Redis
#                   and PostgreSQL: four runs; then a trusted issuer with outages
# make wheels       a source distribution and a wheel for every installed Python, all tested, and
#                   their bill of materials
# make architecture tests on the module built for ARCH=arm64 or s390x, emulated; requires root
# make docs         the documentation as HTML in docs/_build/html; a warning is an error
# make bench        compare this library with others: tables and a chart in benchmarks/results
# make bench-quick  the same without servers, rejections and growth, in two minutes
# make clean        remove everything that these commands create, except the results of make bench
#
# PYTHON=... selects the interpreter, PYTEST_ARGS=... is passed to pytest. The module is compiled
# once for each state of its source: see .ci/environment.py, which creates all environments.

PYTHON = python3
PYTEST_ARGS =
ARCH = arm64
VENV = .venv
BIN = $(VENV)/bin
COVERAGE_GOAL = 98
SECONDS = 60
SESSIONS = 10000

# The arguments of pytest that select the tests of "make test".
FAST = @tests/fast.txt
PARALLEL = --dist worksteal -n

ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 10))'),True)
$(error $(PYTHON) is not a working Python 3.10 or later; specify one with PYTHON=...)
endif

ENVIRONMENT = $(PYTHON) .ci/environment.py

.PHONY: test test-all demo lint typing coverage asan debug fuzz load wheels architecture docs \
	bench bench-quick clean

test:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/pytest $(PARALLEL) auto $(FAST) $(PYTEST_ARGS)

# Tests that measure memory and time run alone. The larger run is the last one.
test-all: export EXAMPLES = 3
test-all:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/pytest tests/runtime $(PYTEST_ARGS)
	$(BIN)/pytest $(PARALLEL) 2 --ignore=tests/runtime $(PYTEST_ARGS)

demo:
	$(ENVIRONMENT) $(VENV)
	$(BIN)/python examples/quickstart.py

lint:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# cython-lint finds pycodestyle in PATH.
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint quart_jwt_extended.pyx
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml

typing:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/pytest tests/typing/test_stub.py tests/typing/test_typing.py $(PYTEST_ARGS)

coverage:
	JWT_BUILD=coverage $(ENVIRONMENT) .venv-coverage --extra test
	.venv-coverage/bin/coverage erase
	@# Without tests that compare the module with others on thousands of inputs, or that run the same
	@# lines as other tests.
	.venv-coverage/bin/coverage run .venv-coverage/bin/pytest $(FAST) $(PYTEST_ARGS) \
	    $(addprefix --ignore=tests/,examples packaging typing api/test_json_reading.py \
	    api/test_provider_shapes.py locations/test_extraction.py \
	    locations/test_extraction_json.py security/test_key_advisories.py security/test_oracle.py \
	    security/test_properties.py)
	@# "make test" leaves these out, because they require a server. One of each kind runs every line.
	.venv-coverage/bin/coverage run --append .venv-coverage/bin/pytest -m slow \
	    -k "(redis or asyncpg) and not cluster and not decoded and not resp3 and not serializable" \
	    tests/stores/test_token_stores.py tests/stores/test_redis_store.py $(PYTEST_ARGS)
	.venv-coverage/bin/coverage report --fail-under=$(COVERAGE_GOAL)
	@# A build without line tracing would have no row, and pass without a measurement.
	.venv-coverage/bin/coverage report | grep -q '^quart_jwt_extended\.pyx '

# Tests that run the module in other processes are left out, and tokens whose shape differs only in
# their claims. The other tests run with a clock that is an hour ahead of the one at collection: no
# test depends on the time of day.
# A report ends its process. Reports of AddressSanitizer go to files, because pytest would lose the
# captured output. Those of UndefinedBehaviorSanitizer do not, next to the library of the other,
# hence --capture=sys. OpenSSL and the interpreter keep memory until the process ends, on purpose,
# so leaks are not detected.
asan:
	JWT_BUILD=sanitize $(ENVIRONMENT) .venv-asan --extra test
	@# Another build in this environment would report nothing.
	nm -D .venv-asan/lib/python3*/site-packages/quart_jwt_extended.*.so | grep -q __asan_report
	rm -rf build/asan
	mkdir -p build/asan
	LD_PRELOAD="`gcc -print-file-name=libasan.so` `gcc -print-file-name=libubsan.so`" \
	ASAN_OPTIONS="detect_leaks=0:malloc_context_size=3:log_path=$(CURDIR)/build/asan/report" \
	UBSAN_OPTIONS=print_stacktrace=1 \
	PYTHONMALLOC=malloc JWT_SANITIZED=1 .venv-asan/bin/pytest --capture=sys $(FAST) --ignore=tests/examples \
	--ignore=tests/typing --ignore=tests/api/test_provider_shapes.py --clock-offset 3600 $(PYTEST_ARGS); \
	status=$$?; if cat build/asan/* 2>/dev/null; then echo 'make asan failed with these reports.'; exit 1; fi; exit $$status

debug:
	JWT_BUILD=debug $(ENVIRONMENT) .venv-debug --extra test
	nm -D .venv-debug/lib/python3*/site-packages/quart_jwt_extended.*.so | grep -q __assert_fail
	PYTHONMALLOC=debug JWT_SANITIZED=1 .venv-debug/bin/python -X dev -m pytest $(FAST) $(PYTEST_ARGS)

# It creates a separate environment, .venv-fuzz, and builds the module into it.
fuzz:
	$(PYTHON) tests/fuzz/run.py --seconds $(SECONDS)

load:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/python tests/load/run.py --seconds $(SECONDS)
	$(BIN)/python tests/load/sessions.py --seconds $(SECONDS) --sessions $(SESSIONS)
	$(BIN)/python tests/load/issuers.py --seconds $(SECONDS)

wheels:
	.ci/wheels $(PYTEST_ARGS)

architecture:
	.ci/architecture $(ARCH) $(PYTEST_ARGS)

docs:
	$(ENVIRONMENT) .venv-docs --extra docs
	.venv-docs/bin/sphinx-build -q -E -W --keep-going -n -b html docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

# It creates separate environments, .venv-bench-*, and builds the module into one of them.
bench:
	$(PYTHON) benchmarks/run.py

bench-quick:
	$(PYTHON) benchmarks/run.py --quick

clean:
	rm -rf .venv .venv-* .nox build dist docs/_build *.egg-info quart_jwt_extended-stubs
	rm -rf .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f quart_jwt_extended.c quart_jwt_extended.*.so benchmarks/results/*-part.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
