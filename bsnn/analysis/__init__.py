"""Looking at results: plots and the report."""
