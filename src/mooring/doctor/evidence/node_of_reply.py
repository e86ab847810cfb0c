"""Which node answered, for any answer of a run, where something tells nodes apart."""

from __future__ import annotations

from collections.abc import Callable

from mooring.doctor.client.reply import FAILURES, Outcome, Reply
from mooring.doctor.evidence.cookies_seen import affinity_names
from mooring.doctor.evidence.node_marks import MarkKind, find_marks
from mooring.doctor.examination import Examination


def openings_of(exam: Examination) -> list[Reply]:
    """Every answer to `initialize`: a node that gives out no session is a node, unlike a proxy that finds none."""
    refused = [reply for reply in exam.sessions.refused if reply.trouble is None and reply.outcome not in FAILURES]
    return [*(session.opened for session in exam.sessions.opened), *exam.sessions.sessionless, *refused]


def answers_within(exam: Examination) -> list[list[Reply]]:
    """For each session, what the node that holds it has answered."""
    reached: dict[int, list[Reply]] = {id(session): [] for session in exam.sessions.opened}
    for call in exam.calls:
        if call.reply.outcome is Outcome.REACHED and id(call.session) in reached:
            reached[id(call.session)].append(call.reply)
    return list(reached.values())


def node_reader(exam: Examination) -> Callable[[Reply], str | None]:
    """Reads the mark of an answer; None for all where nothing tells nodes apart, or a cookie alone does."""
    found = find_marks(openings_of(exam), answers_within(exam), affinity_names(exam))
    if found is None or found.source.kind is not MarkKind.HEADER:
        return lambda _: None
    return found.source.read
