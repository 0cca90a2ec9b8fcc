"""Whether traces can be made here, and making what exports them. Imports OpenTelemetry only if they are switched on."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from zdynamo.config import TracingSettings
from zdynamo.errors import ConfigError

if TYPE_CHECKING:
    from zdynamo.tracing.export import Export

EXTRA = "pip install 'zdynamo[otel]'"


def open_export(settings: TracingSettings, *, instance: str, say: Callable[[str], None]) -> "Export | None":
    """None if it is off. As `Export`. Raises: ConfigError."""
    if settings.exporter == "off":
        return None
    check_installed(settings)
    try:
        from zdynamo.tracing.export import Export

        return Export(settings, instance=instance, say=say)
    except ImportError as missing:
        raise ConfigError(_not_installed(settings, str(missing))) from None
    except Exception as problem:  # of a variable OTEL_..., say, which OpenTelemetry reads itself
        raise ConfigError(f"tracing: OpenTelemetry cannot be set up ({problem}): correct it, or turn it off") from None


def check_installed(settings: TracingSettings) -> None:
    """Raises: ConfigError if what is switched on is not there."""
    if settings.exporter != "off" and find_spec("opentelemetry") is None:
        raise ConfigError(_not_installed(settings, "it is not installed"))


def _not_installed(settings: TracingSettings, why: str) -> str:
    return f"tracing.exporter is {settings.exporter}, and that needs OpenTelemetry ({why}): {EXTRA}, or set it to off"
