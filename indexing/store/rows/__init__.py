"""The row store: metadata laid out for answers (one line per row) and for conditions (whole columns), in `rows/`.

It holds nothing that the parts do not, so it can be made again at any time, and what it lacks is read from the parts.
"""
