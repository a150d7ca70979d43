"""A small server with the paths and semantics of JFrog Artifactory, for what a pipeline uses of it.

Generic repositories (checksums, properties), PyPI repositories (upload and simple index), helm repositories (index),
and ``/v2/`` for images and OCI charts, handed over to a real registry. Users and their roles are enforced.
"""
