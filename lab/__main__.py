"""``python -m lab`` is ``pipeline-tools lab``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.argv.insert(1, "lab")

from pipeline_tools.cli import main  # noqa: E402

main()
