"""The laboratory: the whole platform on one machine, from real parts.

``parts.py`` is the table of parts; ``templates/`` is their configuration; the rest starts, waits and stops.
"""
