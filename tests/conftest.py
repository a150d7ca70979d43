"""For all tests: how hypothesis works, and which of them may run side by side.

Not those of one module, nor those that deploy to the laboratory's TEST and PROD; those marked `alone` come last.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example may take depends on what else the machine does.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# They change what runs in TEST and PROD, or count on it.
ENVIRONMENTS = ("test_pipeline", "test_pipeline_lineage", "test_service")
# What takes longest begins first.
LONGEST = ("environments", "test_jenkins", "test_from_data", "test_service_states", "test_lab", "test_runner")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its group, and put the groups in order."""

    def group(item: pytest.Item) -> str:
        module = "alone" if item.get_closest_marker("alone") else item.path.stem
        return "environments" if module in ENVIRONMENTS else module

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    order = {name: place for place, name in enumerate((*LONGEST, "", "alone"))}
    items.sort(key=lambda item: order.get(group(item), order[""]))
