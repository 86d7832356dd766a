"""The loop, and PET's auxiliary loss."""
