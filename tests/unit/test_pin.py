"""What the end of a service's tests means."""

from __future__ import annotations

import pytest

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError, QualityError
from pipeline_tools.steps.pin import failure


@pytest.mark.parametrize(
    ("code", "own_command", "program"),
    [
        (1, PipelineError, QualityError),
        (2, ConfigError, ConfigError),
        (3, QualityError, QualityError),
        (4, InfrastructureError, ConfigError),
        (5, CredentialError, ConfigError),
        (77, ConfigError, ConfigError),
    ],
)
def test_the_class_of_our_own_command_stays(
    code: int, own_command: type[PipelineError], program: type[PipelineError]
) -> None:
    assert type(failure(code, "it said", ours=True)) is own_command
    assert type(failure(code, "it said", ours=False)) is program
    assert failure(code, "it said", ours=True).details == "it said"
