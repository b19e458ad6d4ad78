"""Kills and damage: a real botd killed anywhere, a ledger whose log was torn, whose bits flipped, whose disk fails."""
