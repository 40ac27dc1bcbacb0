"""What an image of the supervisor runs: segue.app.supervise, found beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from segue.app.supervise import entry

if __name__ == "__main__":
    entry()
