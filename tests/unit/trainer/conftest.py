"""The stand-ins beside these tests are importable as `parts`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
