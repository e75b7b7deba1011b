# ruff: noqa: F401, I001
"""Every figure and table of the book, from tables and arrays to a matplotlib figure or a data frame.

A figure carries `alt`, one sentence with its main numbers, for the page that shows it.
"""

from ra_book.figures.accuracy import accuracy_against_psnr, accuracy_heatmap
from ra_book.figures.accuracy import against_the_paper, headline, paired_forest
from ra_book.figures.boundaries import boundary_table, planes, prediction
from ra_book.figures.coding_pictures import bit_panel, boxes_panel, coding_panel, detection_panel
from ra_book.figures.judges import classes_table, gains_by_classes, judge_gains, judge_table
from ra_book.figures.look import Figure, codec_title, dataset_title, look, render, save, style, task_title
from ra_book.figures.networks import agreement_forest, confusion, preprocessing_curves, proxy_curves
from ra_book.figures.networks import recognizer_overview, training_curves
from ra_book.figures.pictures import both_ends_panel, degradations, picture_grid, picture_panel
from ra_book.figures.rate_tables import agreement_table, bd_beside, bd_by_method, bd_table, cost_table, filter_table
from ra_book.figures.rate_tables import header_table, one_for_all_table, proxy_table, rate_table, same_bytes_table
from ra_book.figures.rate_tables import transfer_table
from ra_book.figures.rates import bd_forest, rate_accuracy_curves, same_bytes_gains, transfer_heatmap
from ra_book.figures.tables import accuracy_table, beside_published, gains_beside, headline_table
from ra_book.figures.tables import paired_table, paper_table, recognizer_table, status_table, to_markdown
from ra_book.figures.tables import trainings_table, transferred_table
from ra_book.figures.transfer import later_gains, later_table, objectives_at_cost, objectives_table
from ra_book.figures.transfer import source_matrix, what_it_says
