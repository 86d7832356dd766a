"""The steps of `scripts/pretrain.py`, in the order in which a text goes through them."""
