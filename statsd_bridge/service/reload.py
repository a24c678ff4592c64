"""Replace the mapping rules of a running bridge."""

from __future__ import annotations

from statsd_bridge import log
from statsd_bridge.errors import ConfigError
from statsd_bridge.service.build import Components, load_table


class Reloader:
    """Reloads the mapping file into a pipeline."""

    def __init__(self, components: Components) -> None:
        self._settings = components.settings
        self._pipeline = components.pipeline
        self._reloads = components.stats.config_reloads

    def reload(self) -> str:
        """Load the file; return why it is refused, or an empty text."""
        logger = log.logger(__name__)
        if not self._settings.mapping_config:
            logger.warning("nothing to reload: there is no --statsd.mapping-config")
            return ""
        try:
            table = load_table(self._settings)
        except ConfigError as error:
            self._reloads["failure"] += 1
            logger.error("reload refused, the old rules stay", error=str(error))
            return str(error)
        self._reloads["success"] += 1
        self._pipeline.replace_table(table)
        logger.info("reloaded", rules=len(table))
        return ""
