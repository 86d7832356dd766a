"""One run: what is done, what runs of a process share, where each stands, its files."""
