"""The demonstration: the source document's own example, its rows, and the main job made visible."""
