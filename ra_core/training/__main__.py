"""`python -m ra_core.training`."""

import sys

from ra_core.training.command import main

sys.exit(main())
