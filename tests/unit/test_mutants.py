"""The careless changes that `make mutants` makes: each finds the code that it changes."""

from bench import mutants


def test_every_named_change_can_be_made():
    assert len(mutants.named()) == 69


def test_tests_of_a_change_reach_any_line_of_it():
    for change in mutants.named():
        source = (mutants.ROOT / change.file).read_text()
        first, last = (source.count("\n", 0, place) + 1 for place in (change.start, change.end - 1))
        assert all(begin <= first <= last <= end for begin, end in change.around), change.name


def test_tests_of_the_same_name_run_first_for_a_minute_in_all():
    mutant = mutants.Mutant("a change", "operators/models/cut.py", 0, 0, "", ((7, 8),))
    quick, own, elsewhere = (f"tests/unit/test_{name}.py::test_it" for name in ("a", "cut", "z"))
    lines = {mutant.file: {"7": [quick, own], "9": [elsewhere]}}
    reach = {"seconds": {quick: 1.0, own: 59.5, elsewhere: 0.1}, "lines": lines}
    assert mutants.tests_of(mutant, reach) == ([own], 59.5)
