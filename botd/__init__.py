"""botd: one process that runs many trading bots on one market-data pipeline."""

__version__ = "0.1.0"
