"""The bridge against others, in one run on one machine.  Read README.md first."""
