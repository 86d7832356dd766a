"""What is classified, and what a prediction of it is worth."""
