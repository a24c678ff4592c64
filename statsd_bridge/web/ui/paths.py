"""The paths of the pages for people."""

from __future__ import annotations

from statsd_bridge.settings import EXPLAIN_PATH, UI_PATH, UNMAPPED_PATH
from statsd_bridge.web import pages
from statsd_bridge.web.base import Backend, Page
from statsd_bridge.web.jobs import Jobs
from statsd_bridge.web.ui import cardinality, rules, series, trial, views
from statsd_bridge.web.ui.assets import Assets
from statsd_bridge.web.ui.layout import Layout
from statsd_bridge.web.ui.try_view import TryView


def ui_paths(backend: Backend, jobs: Jobs, telemetry_path: str) -> dict[str, Page]:
    """Return the pages by their paths; the main page is not at that of the metrics."""
    home = UI_PATH if telemetry_path == "/" else "/"
    assets = Assets()
    context = views.Context(backend, jobs, Layout(home, telemetry_path, assets))
    main = views.Home(context)
    return {
        "/": main,
        UI_PATH: main,
        # Links of the page are relative to a path without a slash at its end.
        f"{UI_PATH}/": pages.Redirect(f"..{UI_PATH}".encode()),
        f"/{views.LIVE_PART}": views.Live(context),
        f"/{series.PATH}": views.SeriesView(context),
        f"/{cardinality.PATH}": views.CardinalityView(context),
        f"/{rules.PATH}": views.RulesView(context),
        f"/{views.UNMAPPED_PART}": views.UnmappedPart(context),
        f"/{trial.PATH}": TryView(context),
        EXPLAIN_PATH: views.Negotiated(views.Explain(context), pages.Explain(backend)),
        UNMAPPED_PATH: views.Negotiated(
            views.Unmapped(context), pages.Unmapped(backend)
        ),
        **assets.pages(),
    }
