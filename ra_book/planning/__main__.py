"""`python -m ra_book.planning`."""

import sys

from ra_book.planning import main

sys.exit(main())
