"""Model files that packages on the registry ship, as people have them."""
