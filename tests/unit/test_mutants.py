"""The careless changes that `make mutants` makes: each finds the code that it changes."""

from bench.mutants import named


def test_every_named_change_can_be_made():
    assert len(named()) == 69
