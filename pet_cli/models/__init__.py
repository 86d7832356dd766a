"""Model families: the only rooms that know what a masked, encoder-decoder or decoder-only model is."""
