"""``python -m tquic`` is the command ``tquic``."""

import sys

from tquic.cli import main

sys.exit(main())
