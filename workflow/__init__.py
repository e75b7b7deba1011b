"""The graph of runs as data (`graph`) and what a step's code comes to (`code`); the Snakefile makes its rules of both."""
