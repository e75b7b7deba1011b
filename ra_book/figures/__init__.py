"""Every figure and table of the book, from tables and arrays to a matplotlib figure or a data frame.

A figure carries `alt`, one sentence with its main numbers, for the page that shows it.
"""

from ra_book.figures.agreement import agreement_scatter
from ra_book.figures.beside import bd_beside, gains_beside, trainings_table
from ra_book.figures.both_ends import both_ends_panel, same_bytes_gains, same_bytes_table
from ra_book.figures.coding_pictures import bit_panel, coding_panel, detection_panel
from ra_book.figures.look import METHODS, MODES, TASKS, Figure, codec_title, look, method_look, save, style, task_title
from ra_book.figures.networks import confusion, preprocessing_curves, recognizer_overview, training_curves
from ra_book.figures.pictures import degradations, picture_grid, picture_panel
from ra_book.figures.proxies import proxy_curves, proxy_table
from ra_book.figures.rate_tables import (
    agreement_table,
    bd_table,
    cost_table,
    filter_table,
    header_table,
    one_for_all_table,
    rate_table,
    transfer_table,
)
from ra_book.figures.rates import bd_forest, rate_accuracy_curves, transfer_heatmap
from ra_book.figures.results import (
    accuracy_against_psnr,
    accuracy_bars,
    accuracy_heatmap,
    against_the_paper,
    headline,
    paired_forest,
)
from ra_book.figures.tables import (
    accuracy_table,
    beside_published,
    headline_table,
    paired_table,
    paper_table,
    recognizer_table,
    status_table,
    to_markdown,
)

__all__ = [
    "METHODS",
    "MODES",
    "TASKS",
    "Figure",
    "accuracy_against_psnr",
    "accuracy_bars",
    "accuracy_heatmap",
    "accuracy_table",
    "against_the_paper",
    "agreement_scatter",
    "agreement_table",
    "bd_beside",
    "bd_forest",
    "bd_table",
    "beside_published",
    "bit_panel",
    "both_ends_panel",
    "codec_title",
    "coding_panel",
    "confusion",
    "cost_table",
    "degradations",
    "detection_panel",
    "filter_table",
    "gains_beside",
    "header_table",
    "headline",
    "headline_table",
    "look",
    "method_look",
    "one_for_all_table",
    "paired_forest",
    "paired_table",
    "paper_table",
    "picture_grid",
    "picture_panel",
    "preprocessing_curves",
    "proxy_curves",
    "proxy_table",
    "rate_accuracy_curves",
    "rate_table",
    "recognizer_overview",
    "recognizer_table",
    "same_bytes_gains",
    "same_bytes_table",
    "save",
    "status_table",
    "style",
    "task_title",
    "to_markdown",
    "training_curves",
    "trainings_table",
    "transfer_heatmap",
    "transfer_table",
]
