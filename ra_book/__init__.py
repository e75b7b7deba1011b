"""The report of a profile: figures, tables, costs and pages. It imports `ra_core`, never the other way."""
