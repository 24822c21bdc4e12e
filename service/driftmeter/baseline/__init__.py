"""Reference data to baselines: bin edges, categories, counts and what undrifted data looks like over time."""
