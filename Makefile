# On Windows: py bootstrap.py demo, py bootstrap.py test.
# Another recipe: make demo WORKFLOW="Mesh to bundle and back".
PYTHON ?= python3

.PHONY: demo test setup
demo test setup:
	$(PYTHON) bootstrap.py $@ $(if $(WORKFLOW),"$(WORKFLOW)")
