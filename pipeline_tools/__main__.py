"""``python -m pipeline_tools`` is ``pipeline-tools``."""

from pipeline_tools.cli import main

if __name__ == "__main__":
    main()
