"""The settings of a run: their types, what follows from them, their checks, and the files they come from."""
