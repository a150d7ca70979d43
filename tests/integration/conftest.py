from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration import loaded, steps_project


@pytest.fixture(scope="module")
def steps_for_tests() -> Iterator[None]:
    """Every `Loaded` of the module runs the steps of `steps/sitecustomize.py`."""
    with loaded.steps_for_tests(steps_project.ENVIRONMENT):
        yield
