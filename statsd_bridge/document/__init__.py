"""YAML to checked values, for both kinds of file.  Start at section.py."""
