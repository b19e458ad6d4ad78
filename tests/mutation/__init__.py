"""Mutation testing: small wrong changes to the order table, the gate and accounting, and whether a unit test notices.

A campaign (``make mutate``), not part of CI. What it measures is the tests: a change that no test notices is a rule
that nobody holds.
"""
