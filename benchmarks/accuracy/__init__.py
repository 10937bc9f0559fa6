"""The proof of accuracy: published ideas and ours, trained and tested here, side by side. See `__main__`."""
