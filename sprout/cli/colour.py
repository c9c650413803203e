"""Whether to colour what is printed."""

from __future__ import annotations

import os
from typing import TextIO


def coloured(stream: TextIO) -> bool:
    """Tell whether `stream` takes colours: a terminal whose user did not set NO_COLOR.

    An empty NO_COLOR counts as not set (no-color.org).
    """
    return stream.isatty() and not os.environ.get("NO_COLOR")
