"""`python -m ra_core.apply`."""

import sys

from ra_core.apply import main

sys.exit(main())
