"""`python -m neocog.cli`, the same as `neocog`."""

import sys

from . import main

sys.exit(main())
