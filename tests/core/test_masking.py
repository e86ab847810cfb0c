"""What must not be shown, and that it is not."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mooring.core.masking import masked, masked_secrets, masked_setting

PROPERTY = settings(deadline=None, max_examples=300)
TOKEN = "token-0123456789abcdef"
TELLING = 6

# No white space and no quote: they end a URL within a text.
in_urls = st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="'\""), min_size=1, max_size=24)
anything = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=24)
structure = st.text(st.sampled_from("a1/:@?&=#%. "), min_size=1, max_size=24)
schemes = st.sampled_from(["redis://", "rediss://", "unix://", "http://"])
users = st.sampled_from(["", "u", "default"])
rests = st.sampled_from(["", "h", "h:6379/0", "[::1]:6379", "h?db=1"])


def leaks(secret: str, shown: str) -> bool:
    """Whether a part of the secret that tells something is there."""
    parts = (secret[start : start + TELLING] for start in range(max(1, len(secret) - TELLING + 1)))
    return len(secret) >= TELLING and any(part in shown for part in parts)


# URLs in a text.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:pass@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://user:p@ss/w@host/0", "redis://user:***@host/0"),
        ("cannot reach 'rediss://u:secret@h' now", "cannot reach 'rediss://u:***@h' now"),
        ("redis://host/0?password=secret&db=1", "redis://host/0?password=***&db=1"),
        ("unix://u:pw@/run/redis.sock", "unix://u:***@/run/redis.sock"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("http://[::1]:8000/mcp", "http://[::1]:8000/mcp"),
        ("no URL: at a@b", "no URL: at a@b"),
        ("one redis://:a@h, two http://u:b@h?TOKEN=c d", "one redis://:***@h, two http://u:***@h?TOKEN=*** d"),
        ("redis://:@h?secret=", "redis://:***@h?secret=***"),
        ("redis://h:6379?password=a@b&db=1", "redis://h:***&db=1"),
        ("redis://u:a?password=b@h&db=1", "redis://u:***&db=1"),
        ("redis://?password=a:b&c@d", "redis://?password=***"),
        ("", ""),
    ],
)
def test_passwords_in_urls_are_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown


@PROPERTY
@given(st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="'\""), min_size=4))
def test_no_password_gets_through(password: str) -> None:
    host = "the-host-of-redis"
    assert masked(f"redis://:{password}@{host}:6379/0").count(host) == 1
    assert f":{password}@" not in masked(f"redis://:{password}@{host}:6379/0") or password == "***"


@PROPERTY
@given(schemes, users, in_urls | structure.map(lambda text: text.replace(" ", "")), rests)
@example("redis://", "", "/:@/secret?password=more", "h")
@example("redis://", "u", "//secret", "h")
def test_no_part_of_a_password_is_left(scheme: str, user: str, password: str, rest: str) -> None:
    url = f"{scheme}{user}:{password}@{rest}"
    assume(not leaks(password, f"{scheme}{user}:***@{rest}"))
    for text in (url, f"cannot reach {url} now", f"'{url}'"):
        assert not leaks(password, masked(text))


@PROPERTY
@given(in_urls.map(lambda text: text.replace("&", "")), st.sampled_from(["password", "secret", "token", "Token"]))
@example("a@secret", "password")
def test_no_part_of_a_secret_in_a_query_is_left(secret: str, name: str) -> None:
    url = f"redis://h:6379/0?db=1&{name}={secret}"
    assume(not leaks(secret, f"redis://h:6379/0?db=1&{name}=***"))
    assert not leaks(secret, masked(f"cannot reach {url} now"))
    assert not leaks(secret, masked_setting(url))


# A setting that should be a URL.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://user:hunter2@host", "http://user:***@host"),
        ("localhost:6379?password=hunter2", "localhost:6379?password=***"),
        ("user:hunter2@host:6379", "user:***@host:6379"),
        (":hunter2@host", ":***@host"),
        ("redis://:/hunter2@host", "redis://:***@host"),
        ("redis://u:hunt er2\n'@host", "redis://u:***@host"),
        ("password=hunter2&db=1", "password=***&db=1"),
        ("localhost?Token=hunter2", "localhost?Token=***"),
        ("redis://h:6379?password=a@b", "redis://h:***"),
        ("redis://user@host", "redis://user@host"),
        ("http://localhost:6379", "http://localhost:6379"),
        ("localhost:6379", "localhost:6379"),
        ("", ""),
    ],
)
def test_passwords_in_settings_are_hidden(value: str, shown: str) -> None:
    assert masked_setting(value) == shown


@PROPERTY
@given(st.just("") | schemes, users, anything | structure, rests)
@example("", "u", "a://b", "h")
@example("redis://", "u", "//secret", "h")
def test_no_part_of_a_password_is_left_in_a_setting(scheme: str, user: str, password: str, rest: str) -> None:
    assume(not leaks(password, f"{scheme}{user}:***@{rest}"))
    # Without a scheme, what stands before the slashes is taken for one: `user://host`.
    assume(scheme or not password.startswith("//"))
    assert not leaks(password, masked_setting(f"{scheme}{user}:{password}@{rest}"))


@PROPERTY
@given(structure, st.sampled_from(["", "password=", "redis://", "token="]), structure)
def test_a_setting_shows_no_more_than_a_text(before: str, between: str, after: str) -> None:
    text = (before + between + after).replace(" ", "")
    shown, in_a_text = masked_setting(text).replace("***", "\0"), masked(text).replace("***", "\0")
    assert len(shown.replace("\0", "")) <= len(in_a_text.replace("\0", ""))


# Secrets that are known.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing in it", "nothing in it"),
        (f"Bearer {TOKEN} is wrong: {TOKEN}", "Bearer *** is wrong: ***"),
        (f"{TOKEN}{TOKEN}", "******"),
        ("cut: token-0123", "cut: ***"),
        ("cut: token-0123…", "cut: ***…"),
        ("cut: token-0123… and more", "cut: ***… and more"),
        ("too little to tell: token", "too little to tell: token"),
        ("another one: token-9", "another one: token-9"),
        (TOKEN[:-1], "***"),
        ("", ""),
    ],
)
def test_a_known_secret_is_hidden_whole_or_cut(text: str, shown: str) -> None:
    assert masked_secrets(text, [TOKEN]) == shown


@pytest.mark.parametrize("secrets", [[TOKEN, f"{TOKEN}-more"], [f"{TOKEN}-more", TOKEN, ""]])
def test_the_longer_one_of_two_leaves_nothing_behind(secrets: list[str]) -> None:
    assert masked_secrets(f"{TOKEN}-more {TOKEN}", secrets) == "*** ***"


def test_a_secret_that_stands_in_itself_once_more_leaves_nothing_behind() -> None:
    assert masked_secrets("x abcabcabcabc x", ["abcabcabc"]) == "x *** x"


letters = st.text("abc …", max_size=30)


@PROPERTY
@given(st.text("ab", min_size=12, max_size=20), letters, letters)
def test_no_text_ends_in_a_part_of_a_secret_or_holds_it(secret: str, before: str, after: str) -> None:
    for cut in range(TELLING, len(secret) + 1):
        shown = masked_secrets(f"{before}{secret[:cut]}", [secret])
        assert secret not in shown
        for length in range(TELLING, len(secret)):
            assert not shown.endswith(secret[:length])
            assert f"{secret[:length]}…" not in shown
    assert secret not in masked_secrets(before + secret + after, [secret])


@PROPERTY
@given(st.text("ab", min_size=TELLING, max_size=9), st.text("ab", min_size=TELLING, max_size=9), letters)
def test_no_one_of_two_secrets_is_left(one: str, two: str, text: str) -> None:
    shown = masked_secrets(text + one + two, [one, two])
    assert one not in shown
    assert two not in shown
