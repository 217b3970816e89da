"""extract: the only place that knows spaCy. A note's text goes in, Mentions come out."""

from notegap.extract.mentions import Extractor

__all__ = ["Extractor"]
