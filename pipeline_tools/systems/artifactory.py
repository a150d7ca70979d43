"""Artifactory: deploying and asking for artifacts through its REST API, and for images through ``/v2/``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipeline_tools import secrets
from pipeline_tools.config import schema
from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, QualityError
from pipeline_tools.failures import of_status
from pipeline_tools.masking import mask

# Seconds to connect, and between two bytes.
TIMEOUT = (5, 120)
MANIFESTS = ", ".join(
    f"application/vnd.{name}+json"
    for name in (
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)


# Of an image's manifest: one that names an image for each platform.
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An artifact at ``target`` (``REPOSITORY/PATH``), with its properties."""

    target: str
    sha256: str
    properties: Mapping[str, list[str]]

    def value(self, name: str) -> str:
        """The first value of a property; empty when it has none."""
        return next(iter(self.properties.get(name) or [""]))


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image in a registry: the digest of its manifest, and the labels that it was built with."""

    digest: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """An artifact that is in a repository; ``new`` is False when the same bytes were there already."""

    url: str
    sha256: str
    new: bool


def from_config(settings: schema.Artifactory) -> Artifactory:
    """The repository manager that the configuration names.

    Raises:
        ConfigError: its address is not set.
        CredentialError: a credential is missing.
    """
    if settings.url is None:
        raise ConfigError(
            "artifactory.url is not set.",
            hint="Set it in the platform file, such as https://artifactory.example.com/artifactory.",
        )
    return Artifactory(
        settings.url, secrets.resolve(settings.username, masked=False), secrets.resolve(settings.password)
    )


class Artifactory:
    """An Artifactory at ``url`` (``https://HOST/artifactory``), as one user.

    Every method raises `CredentialError` when it refuses the user, `InfrastructureError` when it does not answer or
    fails and `ConfigError` when it answers that we asked for something wrong; what only reads is tried again after a
    network error or a 5xx.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.auth = (username, password)
        retry = Retry(total=3, backoff_factor=0.3, backoff_jitter=0.3, status_forcelist=(502, 503, 504))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def _call(self, method: str, url: str, *, ok: tuple[int, ...], **options: object) -> requests.Response:
        try:
            answer = self._session.request(method, url, timeout=TIMEOUT, **options)  # type: ignore[arg-type]
        except requests.RequestException as error:
            raise InfrastructureError(
                f"Artifactory does not answer at {self.url}.",
                hint="Check artifactory.url and the network.",
                details=mask(str(error)),
            ) from error
        if answer.status_code in ok or answer.ok:
            return answer
        said = mask(answer.text[:500])
        if answer.status_code in (401, 403):
            what = "the login" if answer.status_code == requests.codes.unauthorized else f"{method} {url}"
            raise CredentialError(
                f"Artifactory refused {what}.",
                hint="Check artifactory.username and artifactory.password, and the user's permissions.",
                details=said,
            )
        kind = of_status(answer.status_code)
        raise kind(f"Artifactory answered {answer.status_code} to {method} {url}.", details=said)

    def ping(self) -> None:
        """Prove that it answers and accepts the user."""
        self._call("GET", f"{self.url}/api/system/ping", ok=())
        self._call("GET", f"{self.url}/api/repositories", ok=())

    def _target(self, target: str) -> str:
        return f"{self.url}/{quote(target.lstrip('/'))}"

    def sha256(self, target: str) -> str | None:
        """SHA-256 of the artifact at ``REPOSITORY/PATH``; None when there is none."""
        answer = self._call("HEAD", self._target(target), ok=(404,))
        return answer.headers.get("X-Checksum-Sha256") if answer.ok else None

    def properties(self, target: str) -> dict[str, list[str]]:
        """The artifact's properties; empty when it has none."""
        url = f"{self.url}/api/storage/{quote(target.lstrip('/'))}"
        answer = self._call("GET", url, ok=(404,), params={"properties": ""})
        found: dict[str, list[str]] = answer.json().get("properties", {}) if answer.ok else {}
        return found

    def artifact(self, target: str) -> Artifact | None:
        """The artifact at ``REPOSITORY/PATH``; None when there is none."""
        sha256 = self.sha256(target)
        if sha256 is None:
            return None
        return Artifact(target=target, sha256=sha256, properties=self.properties(target))

    def find(self, repository: str, properties: Mapping[str, str]) -> list[Artifact]:
        """The artifacts of a repository that have all of these properties, by path; ``*`` in a value is anything."""
        answer = self._call(
            "GET",
            f"{self.url}/api/search/prop",
            ok=(404,),
            params={**properties, "repos": repository},
            headers={"X-Result-Detail": "info, properties"},
        )
        found = [
            Artifact(
                target=f"{item['repo']}{item['path']}",
                sha256=item.get("checksums", {}).get("sha256", ""),
                properties=item.get("properties", {}),
            )
            for item in (answer.json()["results"] if answer.ok else [])
        ]
        return sorted(found, key=lambda artifact: artifact.target)

    def upload(self, path: Path, target: str, properties: Mapping[str, str]) -> Deployed:
        """Put a file at ``REPOSITORY/PATH`` with properties; the same bytes again are no change.

        Raises:
            QualityError: other bytes are there already: a version is published once.
        """
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        url = self._target(target)
        there = self.sha256(target)
        if there == sha256:
            return Deployed(url=url, sha256=sha256, new=False)
        if there is not None:
            raise QualityError(
                f"{target} is published already, with other content.",
                hint="A published version never changes: publish under a new version.",
                details=f"there: sha256:{there}\nhere:  sha256:{sha256}",
            )
        matrix = "".join(f";{quote(key)}={quote(value, safe='')}" for key, value in sorted(properties.items()))
        with path.open("rb") as file:
            self._call("PUT", url + matrix, ok=(), data=file, headers={"X-Checksum-Sha256": sha256})
        return Deployed(url=url, sha256=sha256, new=True)

    def download(self, target: str, path: Path) -> None:
        """Fetch ``REPOSITORY/PATH`` into ``path``, which is complete or absent afterwards.

        Raises:
            InfrastructureError: there is none, or it came damaged.
        """
        answer = self._call("GET", self._target(target), ok=(), stream=True)
        beside = path.with_name(f".{path.name}.part")
        total = hashlib.sha256()
        try:
            with answer, beside.open("wb") as file:
                for chunk in answer.iter_content(1 << 20):
                    total.update(chunk)
                    file.write(chunk)
            if total.hexdigest() != answer.headers.get("X-Checksum-Sha256", total.hexdigest()):
                raise InfrastructureError(f"{target} came with a wrong checksum.")
            beside.replace(path)
        except requests.RequestException as error:
            raise InfrastructureError(f"{target} did not come to its end.", details=mask(str(error))) from error
        finally:
            beside.unlink(missing_ok=True)

    def children(self, target: str) -> list[str]:
        """Names of what is in the folder ``REPOSITORY/PATH``; empty when there is no such folder."""
        answer = self._call("GET", f"{self.url}/api/storage/{quote(target.strip('/'))}", ok=(404,))
        found = answer.json().get("children", []) if answer.ok else []
        return [str(child["uri"]).lstrip("/") for child in found]

    def manifest_digest(self, image: str, reference: str) -> str | None:
        """Digest of the manifest of ``HOST/REPOSITORY/NAME`` at a tag or digest; None when there is none."""
        url = f"{self._registry(image)}/manifests/{reference}"
        answer = self._call("HEAD", url, ok=(404,), headers={"Accept": MANIFESTS})
        return answer.headers.get("Docker-Content-Digest") if answer.ok else None

    def image(self, image: str, reference: str) -> Image | None:
        """The image ``HOST/REPOSITORY/NAME`` at a tag or digest; None when there is none.

        Of an image for several platforms the labels are those of the first: they are built from the same sources.
        """
        registry = self._registry(image)
        answer = self._call("GET", f"{registry}/manifests/{reference}", ok=(404,), headers={"Accept": MANIFESTS})
        if not answer.ok:
            return None
        digest = answer.headers.get("Docker-Content-Digest", reference)
        manifest = answer.json()
        if manifest.get("mediaType", answer.headers.get("Content-Type")) in INDEXES:
            first = next(
                (each for each in manifest["manifests"] if each.get("platform", {}).get("os") != "unknown"), None
            )
            below = first and self.image(image, first["digest"])
            return Image(digest=digest, labels=below.labels if below else {})
        about = manifest.get("config", {})
        if not str(about.get("mediaType")).endswith("json"):
            return Image(digest=digest, labels={})  # of a kind that has none
        config = self._call("GET", f"{registry}/blobs/{about['digest']}", ok=()).json()
        return Image(digest=digest, labels=(config.get("config") or {}).get("Labels") or {})

    def tags(self, image: str) -> list[str]:
        """Tags of the image ``HOST/REPOSITORY/NAME``, as many as the registry gives at once."""
        answer = self._call("GET", f"{self._registry(image)}/tags/list", ok=(404,))
        return list(answer.json().get("tags") or []) if answer.ok else []

    def _registry(self, image: str) -> str:
        host, _, name = image.partition("/")
        return f"{urlsplit(self.url).scheme}://{host}/v2/{name}"
