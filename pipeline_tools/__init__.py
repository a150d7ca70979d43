"""Delivery pipelines for services and models: the same steps on a laptop and in Jenkins."""

__version__ = "0.1.0"
