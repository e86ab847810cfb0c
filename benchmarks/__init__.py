"""What Mooring costs, against the same app without it: ratios of one run, medians of several rounds.

`make bench`, or `python -m benchmarks NAME... [--quick] [--seconds N]`. Nothing here passes or fails: the last table
sets what was measured beside what is wanted.
"""
