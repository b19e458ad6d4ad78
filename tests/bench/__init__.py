"""Benches: what botd and botctl take, measured beside other programs in the same run.

``python -m tests.bench`` runs all of them, ``python -m tests.bench NAME`` one. Absolute figures drift with the
machine and with what else it does, so each figure stands beside a peer's of the same minute, and is measured in
turns with it. Peers are installed into a virtual environment of their own under ``build/``, and are no
dependencies of the project.
"""
