"""Replace the mapping rules of a running bridge."""

from __future__ import annotations

from statsd_bridge import log
from statsd_bridge.errors import ConfigError
from statsd_bridge.service.build import Components, load_table


def reload(components: Components) -> str:
    """Load the mapping file; return why it is refused, or an empty text."""
    logger = log.logger(__name__)
    reloads = components.stats.config_reloads
    if not components.settings.mapping_config:
        logger.warning("nothing to reload: there is no --statsd.mapping-config")
        return ""
    try:
        table = load_table(components.settings)
    except ConfigError as error:
        reloads["failure"] += 1
        logger.error("reload refused, the old rules stay", error=str(error))
        return str(error)
    reloads["success"] += 1
    components.pipeline.replace_table(table)
    logger.info("reloaded", rules=len(table))
    return ""
