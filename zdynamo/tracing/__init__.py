"""Traces by OpenTelemetry: contexts as they travel, and where spans go."""
