"""extract: the only place that knows spaCy. A note's text goes in, Mentions come out."""

from notegap.extract.libraries import import_spacy

import_spacy()  # before any module here imports a part of it

from notegap.extract.mentions import Extractor  # noqa: E402

__all__ = ["Extractor"]
