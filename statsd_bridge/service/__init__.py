"""
THE WIRING: settings in, a running bridge out.

process.py runs one in this process; bridge.py composes it from the other files.
Everything runs on the reactor's one thread.
"""
