"""`python -m neocog`, the same as `neocog`."""

import sys

from .cli import main

sys.exit(main())
