"""Choosing among the runs of a sweep without a look at the test labels."""
