"""What everything stands on: files that appear whole, what a process remembers, progress, the hub."""
