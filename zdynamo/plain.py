"""How values and contexts look where only JSON or text can be shown: the command line, and HTTP."""

import base64
import json
from typing import Any


def plain(value: Any) -> Any:
    """The value as JSON can hold it; bytes that are not UTF-8 as `{"base64": ...}`."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {text(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def encode_context(context: bytes) -> str:
    """A causal context as one word without padding."""
    return base64.urlsafe_b64encode(context).decode().rstrip("=")


def decode_context(text: str) -> bytes:
    """Raises: ValueError if it is no context."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def text(value: object) -> str:
    """Itself if it is text, else JSON."""
    return value if isinstance(value, str) else json.dumps(plain(value))
