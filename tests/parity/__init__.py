"""Checks the product against parity files: numbers of published reference implementations, and nothing of their code.

`python -m parity FOLDER` with `tests` on the path, or `make parity DIR=FOLDER`. A family of networks is checked by one
module in `families/`, found by its folder; see `docs/guides/parity.md`.
"""
