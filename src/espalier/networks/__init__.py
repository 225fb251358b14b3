"""The trainable recipes: a folder each, whose `__init__` is the card and imports without torch."""
