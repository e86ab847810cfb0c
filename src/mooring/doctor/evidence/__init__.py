"""What is measured, for the checks to judge: calls, nodes, cookies, streams, sizes, forged ids.

A module here sends requests, or reads what was answered, and says what it saw in numbers and names. Whether that is
good or bad, and what to change, is for `checks` to say: nothing here imports `findings` or `advice`. What several
of them look at is measured once in a run, as a `Shared` of the examination.
"""
