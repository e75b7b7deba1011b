"""The graph of runs as data (`graph`), and what the code of a step comes to (`code`)."""
