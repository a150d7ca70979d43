"""For all tests: how hypothesis works, and which of them may run side by side.

Not those of one module, nor those that deploy to the laboratory's environments.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example may take depends on what else the machine does.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# They change what runs in TEST and PROD, or count on it.
ENVIRONMENTS = ("test_from_data", "test_pipeline", "test_pipeline_lineage", "test_service", "test_jenkins")
# What takes longest begins first.
LONGEST = ("environments", "test_service_states", "test_lab", "test_runner")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its group, and put the groups in order."""

    def group(item: pytest.Item) -> str:
        module = item.path.stem
        return "environments" if module in ENVIRONMENTS else module

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=lambda item: LONGEST.index(group(item)) if group(item) in LONGEST else len(LONGEST))
