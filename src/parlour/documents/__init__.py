"""Documents that several people edit at once, on pycrdt."""
