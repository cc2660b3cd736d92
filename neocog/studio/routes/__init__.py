"""The studio's routes by what they are about; `app.py` puts them together."""

from __future__ import annotations
