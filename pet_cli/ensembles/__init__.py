"""Several templates, verbalizers, seeds or models as one answer; PET and iPET."""
