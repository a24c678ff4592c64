"""Replace the mapping rules of a running bridge."""

from __future__ import annotations

from statsd_bridge import log
from statsd_bridge.errors import ConfigError
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.service.build import Context, load_table


class Reloader:
    """Reloads the mapping file into a pipeline."""

    def __init__(self, context: Context, pipeline: Pipeline) -> None:
        self._settings = context.settings
        self._stats = context.stats
        self._pipeline = pipeline
        self._log = log.logger(__name__)

    def reload(self) -> str:
        """Load the file; return why it is refused, or an empty text."""
        if not self._settings.mapping_config:
            self._log.warning("nothing to reload: there is no --statsd.mapping-config")
            return ""
        try:
            table = load_table(self._settings)
        except ConfigError as error:
            self._stats.config_reloads["failure"] += 1
            self._log.error("reload refused, the old rules stay", error=str(error))
            return str(error)
        self._stats.config_reloads["success"] += 1
        self._pipeline.table = table
        self._log.info("reloaded", rules=len(table))
        return ""
