"""Jenkins from outside: its jobs as code."""
