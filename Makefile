# On Windows: py bootstrap.py demo, py bootstrap.py test.
PYTHON ?= python3

.PHONY: demo test setup
demo test setup:
	$(PYTHON) bootstrap.py $@
