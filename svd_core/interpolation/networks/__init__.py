"""Networks that make frames between frames."""
