"""`python -m notegap`."""

import sys

from notegap.cli import main

if __name__ == "__main__":
    sys.exit(main())
