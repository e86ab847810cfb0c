"""`mooring doctor`: finds out, as a client, why MCP breaks on a deployment, and says what to change.

Here is all of a diagnosis, from the first request to the report. Kept out on purpose: the terminal, which is
`mooring.cli.doctor`, and everything that only a node knows. A deployment is seen from outside, whatever serves there; a
Mooring node is asked over HTTP like any other.

Each layer imports only those above it:

    findings, plan, showing, proxies   values: what is said, what is asked for, how it is shown, who may be in front
    client/                            talks: HTTP, the few messages of MCP, sessions that are all closed
    examination                        what the checks of one run share
    evidence/                          measures, and judges nothing
    advice, texts/                     what to change, in the words of each proxy
    check                              what a check declares
    checks/                            judge what was measured
    catalogue                          every check in its order; nothing else knows one by name
    contact                            the first contact
    report                             the whole of what was found
    markdown, junit                    the same as a text, and for CI
    diagnosis                          one run

To add a check:

1. write `checks/<name>.py`, headed by a table of what is seen and the verdict on it, with `run`, `judge` and `CHECK`;
2. put into `evidence/` what it measures, and into `texts/` and `Topic` what to change, for each proxy;
3. declare in its `Check` what it needs of a run, and put it into `catalogue.CHECKS` where it is to be shown;
4. add its row to the table in `docs/doctor.md`;
5. test `judge` by hand-made replies, and `run` at a server that is wrong in just that way.
"""
