"""`python -m pixnet_sd` is `pixnet-sd`."""

import sys

from pixnet_sd.cli import main

sys.exit(main())
