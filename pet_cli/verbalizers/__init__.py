"""From word scores at the mask to label scores."""
