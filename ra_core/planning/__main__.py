"""`python -m ra_core.planning`."""

import sys

from ra_core.planning import main

sys.exit(main())
