"""How to start the stand-in trainer."""

from __future__ import annotations

import sys
from pathlib import Path

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in_trainer.py")))
