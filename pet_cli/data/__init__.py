"""From files and the hub to examples: rows, labels, draws."""
