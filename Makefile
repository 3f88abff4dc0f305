# make test         build, install into .venv, run what guards behaviour: three minutes
# make test-all     the whole suite: real services, browsers, memory, the distributions, and generated
#                   inputs three times as many
# make demo         build, install into .venv, serve examples/quickstart.py
# make lint         ruff and cython-lint
# make typing       mypy, pyright and stubtest on the installed stubs
# make coverage     make test with line tracing in the .pyx, in an environment of its own
# make asan         make test on a build with AddressSanitizer and UndefinedBehaviorSanitizer (gcc)
# make debug        make test on a build without optimisation, with every assertion and check on
# make fuzz         coverage-guided fuzzing for SECONDS=60; needs clang, see tests/fuzz/README.md
# make load         Hypercorn and uvicorn under load, with a Redis that goes and comes: four phases of
#                   SECONDS=60; then SESSIONS=10000 of them on two workers, with Redis and PostgreSQL
#                   that go and come: four runs; then a trusted issuer that goes and comes
# make wheels       a source distribution and a wheel for every installed Python, each one tested, and
#                   their bill of materials
# make architecture tests on the module built for ARCH=arm64 or s390x, emulated; takes root
# make docs         the documentation as HTML in docs/_build/html; a warning is an error
# make bench        measure this library beside others: tables and a chart in benchmarks/results
# make bench-quick  the same without servers, refusals and growth, in two minutes
# make clean        remove all that the above made, but for the results of make bench
#
# PYTHON=... picks the interpreter, PYTEST_ARGS=... is handed to pytest. The module is compiled once
# for each state of its source: see .ci/environment.py, which makes every environment.

PYTHON = python3
PYTEST_ARGS =
ARCH = arm64
VENV = .venv
BIN = $(VENV)/bin
COVERAGE_GOAL = 98
SECONDS = 60
SESSIONS = 10000

# Holds what selects the tests of "make test", for pytest.
FAST = @tests/fast.txt
BESIDE = --dist worksteal -n

ifneq ($(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 10))'),True)
$(error $(PYTHON) is no Python of 3.10 or later that runs; name one with PYTHON=...)
endif

ENVIRONMENT = $(PYTHON) .ci/environment.py

.PHONY: test test-all demo lint typing coverage asan debug fuzz load wheels architecture docs \
	bench bench-quick clean

test:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/pytest $(BESIDE) auto $(FAST) $(PYTEST_ARGS)

# What measures memory and time has the machine to itself; the larger run is the last.
test-all: export EXAMPLES = 3
test-all:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/pytest tests/runtime $(PYTEST_ARGS)
	$(BIN)/pytest $(BESIDE) 2 --ignore=tests/runtime $(PYTEST_ARGS)

demo:
	$(ENVIRONMENT) $(VENV)
	$(BIN)/python examples/quickstart.py

lint:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# It runs pycodestyle by that name.
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint quart_jwt_extended.pyx
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml

typing:
	$(ENVIRONMENT) $(VENV) --extra test
	$(BIN)/pytest tests/typing/test_stub.py tests/typing/test_typing.py $(PYTEST_ARGS)

coverage:
	JWT_BUILD=coverage $(ENVIRONMENT) .venv-coverage --extra test
	.venv-coverage/bin/coverage erase
	@# Without what compares the module with others on thousands of inputs, or runs the lines of other
	@# tests once more.
	.venv-coverage/bin/coverage run .venv-coverage/bin/pytest $(FAST) $(PYTEST_ARGS) \
	    $(addprefix --ignore=tests/,examples packaging typing api/test_json_reading.py \
	    api/test_provider_shapes.py locations/test_extraction.py \
	    locations/test_extraction_json.py security/test_key_advisories.py security/test_oracle.py \
	    security/test_properties.py)
	@# What "make test" leaves out, as it needs a server: one of each kind runs every line.
	.venv-coverage/bin/coverage run --append .venv-coverage/bin/pytest -m slow \
	    -k "(redis or asyncpg) and not cluster and not decoded and not resp3 and not serializable" \
	    tests/stores/test_token_stores.py tests/stores/test_redis_store.py $(PYTEST_ARGS)
	.venv-coverage/bin/coverage report --fail-under=$(COVERAGE_GOAL)
	@# A build without line tracing has no row, and no row has no share to fall short.
	.venv-coverage/bin/coverage report | grep -q '^quart_jwt_extended\.pyx '

# What runs the module in other processes is left out, and tokens whose shape differs by claims alone.
# The rest runs by a clock that is an hour ahead of the one at collection: no test depends on the
# time of day.
# A report ends its process. AddressSanitizer's go to files, as pytest would lose what it captured;
# UndefinedBehaviorSanitizer's do not beside the other's library, hence --capture=sys. OpenSSL and
# the interpreter keep memory to the end of the process on purpose, so leaks are not looked for.
asan:
	JWT_BUILD=sanitize $(ENVIRONMENT) .venv-asan --extra test
	@# An environment of another build would find nothing.
	nm -D .venv-asan/lib/python3*/site-packages/quart_jwt_extended.*.so | grep -q __asan_report
	rm -rf build/asan
	mkdir -p build/asan
	LD_PRELOAD="`gcc -print-file-name=libasan.so` `gcc -print-file-name=libubsan.so`" \
	ASAN_OPTIONS="detect_leaks=0:malloc_context_size=3:log_path=$(CURDIR)/build/asan/report" \
	UBSAN_OPTIONS=print_stacktrace=1 \
	PYTHONMALLOC=malloc JWT_SANITIZED=1 .venv-asan/bin/pytest --capture=sys $(FAST) --ignore=tests/examples \
	--ignore=tests/typing --ignore=tests/api/test_provider_shapes.py --clock-offset 3600 $(PYTEST_ARGS); \
	status=$$?; if cat build/asan/* 2>/dev/null; then echo 'These reports fail it.'; exit 1; fi; exit $$status

debug:
	JWT_BUILD=debug $(ENVIRONMENT) .venv-debug --extra test
	nm -D .venv-debug/lib/python3*/site-packages/quart_jwt_extended.*.so | grep -q __assert_fail
	PYTHONMALLOC=debug JWT_SANITIZED=1 .venv-debug/bin/python -X dev -m pytest $(FAST) $(PYTEST_ARGS)

# It makes an environment of its own, .venv-fuzz, and builds the module into it.
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

# It makes environments of its own, .venv-bench-*, and builds the module into one of them.
bench:
	$(PYTHON) benchmarks/run.py

bench-quick:
	$(PYTHON) benchmarks/run.py --quick

clean:
	rm -rf .venv .venv-* .nox build dist docs/_build *.egg-info quart_jwt_extended-stubs
	rm -rf .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f quart_jwt_extended.c quart_jwt_extended.*.so benchmarks/results/*-part.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
