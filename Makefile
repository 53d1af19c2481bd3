# On Windows: py bootstrap.py demo, py bootstrap.py comfy, py bootstrap.py test.
# Another recipe: make demo WORKFLOW="Mesh to bundle and back". Another prompt: make demo PROMPT="a blue cube".
PYTHON ?= python3
# Only a PROMPT that is given to make: shells have a variable of that name, too.
PROMPTED = $(findstring command,$(origin PROMPT))

.PHONY: demo comfy test setup
demo comfy test setup:
	$(PYTHON) bootstrap.py $@ $(if $(WORKFLOW),"$(WORKFLOW)") $(if $(PROMPTED),--prompt "$$PROMPT")
