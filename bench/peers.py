"""Other people's programs, each in an environment of its own under `.bench/`, installed when first asked for."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".bench"
LITELLM = "litellm[proxy]==1.106.2"
LITELLM_KEY = "sk-bench-7Qm2xV9pLw4Zr8Tn"
LITELLM_CONFIG = """\
model_list:
  - model_name: default
    litellm_params:
      model: openai/default
      api_base: {upstream}/v1
      api_key: none
litellm_settings:
  telemetry: false
  callbacks: []
general_settings:
  master_key: sk-bench-7Qm2xV9pLw4Zr8Tn
"""


def litellm_binary() -> Path:
    """The `litellm` command of its own environment."""
    folder = FOLDER / "litellm"
    binary = folder / "bin" / "litellm"
    if not binary.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", LITELLM], check=True)
    return binary
