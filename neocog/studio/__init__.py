"""The studio: a page in the browser, served by this machine to itself.

`security.py` decides who may talk to it and `patience.py` how long they may take, `app.py` puts together its `routes/`,
and `workshop.py` is what it works on: drafts of networks, runs that train in threads of their own, and scenes, which
are single images followed through a network with all numbers. The page is `page/`: plain modules and one style sheet,
with nothing from elsewhere.
"""

from __future__ import annotations

from .server import Place as Place
from .server import guarded as guarded
from .server import serve as serve
from .workshop import Workshop as Workshop

__all__ = ["Place", "Workshop", "guarded", "serve"]
