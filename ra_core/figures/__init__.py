"""Every figure and table of the book, from tables and arrays to a matplotlib figure or a data frame.

A figure carries `alt`, one sentence with its main numbers, for the page that shows it.
"""

from ra_core.figures.look import MODES, TASKS, Figure, look, save, style, task_title
from ra_core.figures.networks import confusion, recognizer_overview, training_curves
from ra_core.figures.pictures import degradations, picture_grid, picture_panel
from ra_core.figures.results import (
    accuracy_against_psnr,
    accuracy_bars,
    accuracy_heatmap,
    against_the_paper,
    headline,
    paired_forest,
)
from ra_core.figures.tables import (
    accuracy_table,
    headline_table,
    paired_table,
    paper_table,
    recognizer_table,
    status_table,
    to_markdown,
)

__all__ = [
    "MODES",
    "TASKS",
    "Figure",
    "accuracy_against_psnr",
    "accuracy_bars",
    "accuracy_heatmap",
    "accuracy_table",
    "against_the_paper",
    "confusion",
    "degradations",
    "headline",
    "headline_table",
    "look",
    "paired_forest",
    "paired_table",
    "paper_table",
    "picture_grid",
    "picture_panel",
    "recognizer_overview",
    "recognizer_table",
    "save",
    "status_table",
    "style",
    "task_title",
    "to_markdown",
    "training_curves",
]
