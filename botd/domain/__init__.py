"""Values and rules: what the other rooms talk about.

This room imports nothing of botd and performs no input or output. Only :mod:`botd.domain.clock` may
read the wall clock or make a random number.
"""
