"""Looking at results: plots."""
