"""The command line. Nothing else imports Hydra."""
