"""Read YAML files, with checks and places for errors.  Start at section.py."""
