"""What the service can be told by environment variables, checked when it starts.

``python3 -m servicio.settings`` prints the table of them that stands in the README.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field, HttpUrl, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SERVICIO_"
Seconds = partial(Field, gt=0, le=3600)
Count = partial(Field, ge=1)


class SettingsError(Exception):
    """Variables that cannot be used; the message has a line for each."""


class Settings(BaseSettings):
    """Each field is a variable: its name in capitals after ``SERVICIO_``, unless it has a name of its own."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, populate_by_name=True)

    host: str = Field("0.0.0.0", description="Address that is served.")  # noqa: S104 — a container's own network
    port: int = Field(8080, ge=1, le=65535, validation_alias="PORT", description="Port that is served.")
    admin_host: str = Field("0.0.0.0", description="Address of probes, metrics and maintenance.")  # noqa: S104
    admin_port: int = Field(9090, ge=1, le=65535, description="Port of probes, metrics and maintenance.")
    workers: int = Count(1, validation_alias="WORKERS", description="Worker processes.")

    running: int = Count(2, description="Predictions of a worker that run at the same time.")
    waiting: int = Field(48, ge=0, description="Requests of a worker that may wait for one of those places.")
    max_wait: float = Seconds(0.25, description="Longest wait for a place, in seconds; then the request is refused.")
    standing_wait: float = Seconds(
        0.001,
        description="Under an overload of more than 0.1 s the queue is so short that nobody waits longer, in seconds.",
    )
    retry_after: int = Count(3, description="A refused client is told to come back after 1 to this many seconds.")
    deadline_header: str = Field(
        "X-Request-Timeout-Ms",
        description="Header in which a client says how many milliseconds it will wait; it does not wait longer.",
    )
    reading: int = Count(256, description="Requests of a worker whose body may be slow to come at the same time.")
    read_timeout: float = Seconds(10, description="A body that takes longer, in seconds, is given up.")
    max_characters: int = Count(10_000, description="Longest text, in characters.")
    max_bytes: int = Count(65_536, description="Largest body, in bytes.")

    job_timeout: float = Seconds(10, description="A prediction that runs longer, in seconds, ends its worker.")
    stuck_timeout: float = Seconds(
        5, description="A worker without a sign of life for this long, in seconds, is ended."
    )
    start_timeout: float = Seconds(60, description="Longest time to load and try the model, in seconds.")
    canary_interval: float = Seconds(5, description="A worker tries its model this often, in seconds.")
    max_threads: int = Count(200, description="A worker with more threads has a leak and is replaced.")
    drain_time: float = Field(
        3, ge=0, le=3600, description="After SIGTERM it is not ready but serves on for this long, in seconds."
    )
    stop_timeout: float = Seconds(15, description="What is in flight then may take this long, in seconds.")
    maintenance_file: Path | None = Field(None, description="While this file exists the service is in maintenance.")

    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged.")
    log_requests: bool = Field(True, description="Whether each answered request is a line of the log.")

    pod: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+/[a-z0-9.-]+$",
        description="Namespace and name of the pod, told in the header Served-By of each answer; unset: not told.",
    )

    capture_dir: Path | None = Field(None, description="Where predictions are kept for retraining; unset: nowhere.")
    capture_share: float = Field(1.0, ge=0, le=1, description="Share of the predictions that is kept.")
    capture_queue: int = Count(1000, description="Records that may wait to be written; more are dropped and counted.")
    capture_file_bytes: int = Count(10_000_000, description="Size at which a file of records is closed, in bytes.")
    capture_file_age: float = Seconds(300, description="Age at which a file of records is closed, in seconds.")
    capture_files: int = Count(20, description="Closed files that may wait for upload; then records are dropped.")
    upload_url: HttpUrl | None = Field(
        None, description="Folder of an Artifactory repository to which `servicio.upload` takes closed files."
    )
    upload_username: str | None = Field(None, description="Who it is there; unset: nobody in particular.")
    upload_password: SecretStr | None = Field(None, description="The password, or a token.")
    upload_interval: float = Seconds(60, description="It looks for closed files this often, in seconds.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the variables.

        Raises:
            SettingsError: a variable has a value that cannot be, or a name that is unknown after ``SERVICIO_``.
        """
        environment = os.environ if environment is None else environment
        known = {variable(name): name for name in cls.model_fields}
        values = {known[name]: value for name, value in environment.items() if name in known}
        problems = [
            f"{name} is unknown{_nearest(name, known)}"
            for name in sorted(environment)
            if name.startswith(PREFIX) and name not in known
        ]
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            fields = {name: field for field in cls.model_fields for name in (field, variable(field))}
            for one in error.errors():
                name = variable(fields[str(one["loc"][0])])
                problems.append(f"{name}: {one['msg']}, not {one['input']!r}")
        if problems:
            raise SettingsError("\n".join(problems))
        return settings


def variable(field: str) -> str:
    """The environment variable of a field."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias) if alias else PREFIX + field.upper()


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f": perhaps you meant {found[0]}" if found else ""


def table() -> str:
    """The settings as a Markdown table."""
    rows = ["| variable | default | what it says |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{variable(name)}` | {default} | {field.description} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())  # noqa: T201
