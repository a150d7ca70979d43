"""The names under which the steps write where things came from, and `lineage` reads it."""

from __future__ import annotations

# Labels of an image, which `deploy` repeats as annotations of the pods.
TITLE, VERSION, REVISION, SOURCE = (
    f"org.opencontainers.image.{name}" for name in ("title", "version", "revision", "source")
)
MODEL, MODEL_VERSION, MODEL_SHA256 = (f"lineage.model.{name}" for name in ("name", "version", "sha256"))
# What helm keeps with a release, and shows in its history.
DEPLOYED = "run {run} of {project} {version}"
IS_DEPLOYED = r"run (?P<run>\S+) of (?P<project>\S+) (?P<version>\S+)"
# Properties of a wheel, and where the wheel itself says the same, in its linaje.json.
CODE = ("vcs.revision", "vcs.url", ("code", "commit"))
DATA = ("lineage.data.revision", "lineage.data.url", ("data", "commit"))
BUILD, BUILD_NUMBER, METRIC = "build.name", "build.number", "lineage.metric."
# Headers of an answer.
SERVED_BY, MODEL_HEADER, DIGEST_HEADER, DATA_HEADER = "served-by", "model-version", "model-digest", "data-digest"
REQUEST_ID = "x-request-id"
# The file that `verify` leaves.
LINEAGE = "lineage.json"
