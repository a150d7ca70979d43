"""``python -m lab.projects PROJECT...``: the bundled projects in the laboratory's git, as they are in the checkout.

``--accept`` merges what the model's pipeline proposed to the service.
"""

from __future__ import annotations

import sys

from lab.layout import Lab
from lab.repositories import Clone


def main(words: list[str]) -> None:
    """Synchronise each project named."""
    lab = Lab.from_environment()
    for name in words:
        if name == "--accept":
            Clone(lab, "service").accept()
        else:
            Clone(lab, name).synchronise()


if __name__ == "__main__":
    main(sys.argv[1:])
