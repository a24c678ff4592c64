"""Generators and checks for developers; not installed."""
