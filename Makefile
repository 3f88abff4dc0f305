# make test         build, install into .venv, run the suite
# make demo         build, install into .venv, serve examples/quickstart.py
# make lint         ruff and cython-lint
# make typing       mypy, pyright and stubtest on the installed stubs
# make coverage     the suite with line tracing in the .pyx, in an environment of its own
# make asan         the suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer (gcc)
# make debug        the suite on a build without optimisation, with every assertion and check on
# make fuzz         coverage-guided fuzzing for SECONDS=60; needs clang, see tests/fuzz/README.md
# make load         Hypercorn and uvicorn under load, with a Redis that goes and comes: four phases of
#                   SECONDS=60
# make wheels       a source distribution and a wheel for every installed Python, each one tested
# make docs         the documentation as HTML in docs/_build/html; a warning is an error
# make bench        measure this library beside others: tables and a chart in benchmarks/results
# make bench-quick  the same without servers, refusals and growth, in two minutes
# make clean        remove all that the above made, but for the results of make bench
#
# PYTHON=... picks the interpreter, PYTEST_ARGS=... is handed to pytest.

PYTHON = python3
PYTEST_ARGS =
VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
SOURCES = quart_jwt_extended.pyx quart_jwt_extended.pyi setup.py pyproject.toml README.md LICENSE
COVERAGE_GOAL = 97
SECONDS = 60

INTERPRETER := $(shell $(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), sys.version; \
	print(sys.base_prefix, *sys.version.split())')
ifeq ($(INTERPRETER),)
$(error $(PYTHON) is no Python of 3.10 or later that runs; name one with PYTHON=...)
endif

.PHONY: test demo lint typing coverage asan debug fuzz load wheels docs bench bench-quick clean FORCE

test: $(VENV)/extra
	$(BIN)/pytest $(PYTEST_ARGS)

demo: $(VENV)/module
	$(BIN)/python examples/quickstart.py

lint: $(VENV)/extra
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# It runs pycodestyle by that name.
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint quart_jwt_extended.pyx
	$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml

typing: $(VENV)/extra
	$(BIN)/pytest tests/typing/test_stub.py tests/typing/test_typing.py $(PYTEST_ARGS)

coverage:
	JWT_BUILD=coverage $(MAKE) VENV=.venv-coverage .venv-coverage/extra
	.venv-coverage/bin/coverage erase
	@# Memory is not measured, nor thousands of requests crowded, under a tracer.
	.venv-coverage/bin/coverage run .venv-coverage/bin/pytest $(CHECKED) \
		--ignore=tests/runtime/test_leaks.py --ignore=tests/runtime/test_concurrency.py $(PYTEST_ARGS)
	.venv-coverage/bin/coverage report --fail-under=$(COVERAGE_GOAL)
	@# A build without line tracing has no row, and no row has no share to fall short.
	.venv-coverage/bin/coverage report | grep -q '^quart_jwt_extended\.pyx '

# What measures the file or its memory would measure the sanitizers, and a process that an example
# runs in has nothing that the other tests have not.
CHECKED = -m "not packaging and not slow" --ignore=tests/examples

# A report ends its process. AddressSanitizer's go to files, as pytest would lose what it captured;
# UndefinedBehaviorSanitizer's do not beside the other's library, hence --capture=sys. OpenSSL and
# the interpreter keep memory to the end of the process on purpose, so leaks are not looked for.
asan:
	JWT_BUILD=sanitize $(MAKE) VENV=.venv-asan .venv-asan/extra
	@# An environment of another build would find nothing.
	nm -D .venv-asan/lib/python3*/site-packages/quart_jwt_extended.*.so | grep -q __asan_report
	rm -rf build/asan
	mkdir -p build/asan
	LD_PRELOAD="`gcc -print-file-name=libasan.so` `gcc -print-file-name=libubsan.so`" \
	ASAN_OPTIONS="detect_leaks=0:malloc_context_size=3:log_path=$(CURDIR)/build/asan/report" \
	UBSAN_OPTIONS=print_stacktrace=1 \
	PYTHONMALLOC=malloc JWT_SANITIZED=1 .venv-asan/bin/pytest --capture=sys $(CHECKED) $(PYTEST_ARGS); \
	status=$$?; if cat build/asan/* 2>/dev/null; then echo 'These reports fail it.'; exit 1; fi; exit $$status

debug:
	JWT_BUILD=debug $(MAKE) VENV=.venv-debug .venv-debug/extra
	nm -D .venv-debug/lib/python3*/site-packages/quart_jwt_extended.*.so | grep -q __assert_fail
	PYTHONMALLOC=debug JWT_SANITIZED=1 .venv-debug/bin/python -X dev -m pytest $(CHECKED) $(PYTEST_ARGS)

# It makes an environment of its own, .venv-fuzz, and builds the module into it.
fuzz:
	$(PYTHON) tests/fuzz/run.py --seconds $(SECONDS)

load: $(VENV)/extra
	$(BIN)/python tests/load/run.py --seconds $(SECONDS)

wheels:
	.ci/wheels $(PYTEST_ARGS)

docs:
	$(MAKE) VENV=.venv-docs .venv-docs/docs
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

# Written anew, and the environment with it, only when PYTHON names another interpreter than last time.
$(VENV)/interpreter: FORCE
	@test "`cat $@ 2>/dev/null`" = "$(INTERPRETER)" || { \
		set -ex; rm -rf $(VENV); $(PYTHON) -m venv $(VENV); echo "$(INTERPRETER)" > $@; }

$(VENV)/module: $(VENV)/interpreter $(SOURCES)
	$(PIP) install .
	touch $@

# The module is installed by now: this adds what its extra needs, and builds nothing.
$(VENV)/extra: $(VENV)/module
	$(PIP) install 'quart-jwt-extended[test]'
	touch $@

$(VENV)/docs: $(VENV)/module
	$(PIP) install 'quart-jwt-extended[docs]'
	touch $@
