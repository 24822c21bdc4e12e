"""One program for each side of a comparison, run by the side's own Python.

It is given the files with the reference and with the current rows, compares them once to warm up, and then once for
each line on its standard input; each time it prints a line of JSON: `seconds` and `cpu_seconds` it took, from the files
to the results as Python has them, and how many `results` there were. They import nothing of this product, but for the
one that measures it.
"""
