"""
The page for people: HTML made by the server, alive with a small script.

    document of the API --> one module per section --> layout.py --> views.py

Sections: overview.py (state, facts), traffic.py (charts.py), series.py (bars.py),
cardinality.py, rules.py, unmapped.py, explanation.py, trial.py.  The script fetches the
same HTML again and swaps the parts that changed, so each text is escaped in one place,
markup.py.
"""

from __future__ import annotations

from statsd_bridge.web.ui.paths import ui_paths

__all__ = ["ui_paths"]
