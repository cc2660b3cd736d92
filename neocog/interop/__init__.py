"""Other libraries' networks and weights: read from them, and written for them."""

from .weights import export_weights as export_weights
from .weights import import_weights as import_weights
