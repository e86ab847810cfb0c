from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import BaseUser, SimpleUser, UnauthenticatedUser

from mooring.node.requests.principal import NOBODY, principal_of

PROPERTY = settings(deadline=None, max_examples=100)

parts = st.none() | st.text(max_size=10)


def a_token(**said: Any) -> AccessToken:
    return AccessToken(**{"token": "t", "client_id": "client", "scopes": [], **said})


def of(user: object) -> str:
    return principal_of({"type": "http", "user": user})


def of_token(**said: Any) -> str:
    return of(AuthenticatedUser(a_token(**said)))


# Nobody.


def test_without_authentication_it_is_nobody() -> None:
    assert principal_of({"type": "http"}) == NOBODY
    assert of(None) == NOBODY


@pytest.mark.parametrize("user", [UnauthenticatedUser(), object(), "a text", SimpleNamespace(is_authenticated=False)])
def test_a_user_who_did_not_authenticate_is_nobody(user: object) -> None:
    assert of(user) == NOBODY


@pytest.mark.parametrize("is_named", [True, False], ids=["is_authenticated", "nothing"])
def test_a_class_of_users_that_cannot_be_told_apart_is_warned_of_once(
    is_named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As Django's users, or what a middleware of the author's own has found."""

    class Person:
        def __init__(self, pk: int) -> None:
            self.pk = pk
            if is_named:
                self.is_authenticated = True

    assert of(Person(1)) == of(Person(2))
    [said] = [record.getMessage() for record in caplog.records]
    assert "Person" in said
    assert "BaseUser" in said


# The SDK's user.


def test_the_sdks_user_is_issuer_subject_and_client() -> None:
    said = of_token(client_id="client", subject="subject", claims={"iss": "https://issuer", "aud": "x"})
    assert json.loads(said) == ["https://issuer", "subject", "client"]


def test_what_a_token_does_not_say_is_none_and_not_nobody() -> None:
    assert json.loads(of_token()) == [None, None, "client"]
    assert of_token() != NOBODY


def test_a_refreshed_token_is_the_same_principal() -> None:
    before = of_token(token="one", expires_at=1, scopes=["a"], claims={"iss": "i", "exp": 1, "jti": "x"})
    after = of_token(token="two", expires_at=2, scopes=["b"], claims={"iss": "i", "exp": 2, "jti": "y"})
    assert before == after


def test_the_token_is_never_part_of_the_principal() -> None:
    assert "the-token-itself" not in of_token(token="the-token-itself", subject="s", claims={"iss": "i"})


@pytest.mark.parametrize("changed", [{"client_id": "other"}, {"subject": "other"}, {"claims": {"iss": "other"}}])
def test_another_issuer_subject_or_client_is_another_principal(changed: dict[str, Any]) -> None:
    said: dict[str, Any] = {"client_id": "client", "subject": "subject", "claims": {"iss": "issuer"}}
    assert of_token(**said) != of_token(**said | changed)


@PROPERTY
@given(st.tuples(parts, parts, st.text(max_size=10)), st.tuples(parts, parts, st.text(max_size=10)))
def test_different_triples_never_become_one_text(
    one: tuple[str | None, str | None, str], other: tuple[str | None, str | None, str]
) -> None:
    """Whatever quotes, commas and brackets a subject has; and None is not the text that says so."""
    assume(one != other)
    told = [
        of_token(claims={"iss": issuer}, subject=subject, client_id=client) for issuer, subject, client in (one, other)
    ]
    assert told[0] != told[1]


@pytest.mark.parametrize("subject", [{"subject": None}, {}])
def test_two_users_of_one_client_are_two_principals_where_claims_alone_tell(subject: dict[str, None]) -> None:
    """As verifiers have it that were written before the tokens of the SDK had a subject."""
    ada, bob = (
        of(SimpleNamespace(access_token=SimpleNamespace(claims={"sub": name}, client_id="client", **subject)))
        for name in ("ada", "bob")
    )
    assert json.loads(ada) == [None, "ada", "client"]
    assert ada != bob


def test_what_a_token_says_of_its_subject_comes_before_its_claims() -> None:
    assert json.loads(of_token(subject="ada", claims={"sub": "bob"})) == [None, "ada", "client"]


@pytest.mark.parametrize("token", ["ey...", SimpleNamespace(), SimpleNamespace(claims={"iss": "i"})])
def test_users_are_told_apart_by_their_names_where_their_tokens_name_nobody(token: Any) -> None:
    ada, bob = (
        of(SimpleNamespace(access_token=token, is_authenticated=True, identity=name)) for name in ("ada", "bob")
    )
    assert json.loads(ada)[1] == "ada"
    assert ada != bob
    assert of(SimpleNamespace(access_token=token, is_authenticated=False, identity="ada")) == NOBODY


def test_a_part_does_not_move_to_its_neighbour() -> None:
    triples = itertools.permutations(["a", "b", None])
    said = {of(SimpleNamespace(access_token=_token(*triple))) for triple in triples}
    assert len(said) == 6


def _token(issuer: str | None, subject: str | None, client: str | None) -> SimpleNamespace:
    return SimpleNamespace(claims={"iss": issuer}, subject=subject, client_id=client)


@PROPERTY
@given(parts, parts, parts)
def test_a_principal_can_be_signed_as_it_is(issuer: str | None, subject: str | None, client: str | None) -> None:
    said = of(SimpleNamespace(access_token=_token(issuer, subject, client)))
    assert said.isascii()
    assert said.isprintable()


@pytest.mark.parametrize("token", [SimpleNamespace(), SimpleNamespace(claims=None), SimpleNamespace(claims={})])
def test_a_token_of_another_release_may_lack_anything(token: object) -> None:
    assert json.loads(of(SimpleNamespace(access_token=token))) == [None, None, None]


def test_a_token_comes_before_what_starlette_says_of_its_user() -> None:
    user = AuthenticatedUser(a_token(subject="subject"))
    assert user.display_name == "client"
    assert json.loads(of(user)) == [None, "subject", "client"]


def test_a_user_without_a_token_may_still_be_somebody() -> None:
    user = SimpleNamespace(access_token=None, is_authenticated=True, display_name="ada")
    assert json.loads(of(user)) == [None, "ada", None]


# Starlette's users.


class NamedUser(SimpleUser):
    """A user of an app of its own: two people may have one name."""

    def __init__(self, name: str, identity: str) -> None:
        super().__init__(name)
        self._identity = identity

    @property
    def identity(self) -> str:
        return self._identity


class IdentifiedUser(BaseUser):
    """Implements no more than it has to."""

    def __init__(self, identity: str) -> None:
        self._identity = identity

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def identity(self) -> str:
        return self._identity


class AnonymousUser:
    """Authenticated, by a key that all share: nobody in particular."""

    is_authenticated = True


def test_a_starlette_user_is_known_by_name() -> None:
    assert json.loads(of(SimpleUser("ada"))) == [None, "ada", None]
    assert of(SimpleUser("ada")) == of(SimpleUser("ada"))
    assert of(SimpleUser("ada")) != of(SimpleUser("grace"))


def test_a_starlette_user_is_not_an_sdk_user_of_that_name() -> None:
    assert of(SimpleUser("client")) != of_token(client_id="client")


def test_two_people_of_one_name_are_two_principals() -> None:
    assert of(NamedUser("Ada", "id-1")) != of(NamedUser("Ada", "id-2"))


def test_a_user_without_a_display_name_is_known_by_identity() -> None:
    assert of(IdentifiedUser("id-1")) == of(IdentifiedUser("id-1"))
    assert of(IdentifiedUser("id-1")) != of(IdentifiedUser("id-2"))


def test_a_user_without_any_name_is_not_another_one_with_each_request() -> None:
    first, second = AnonymousUser(), AnonymousUser()
    assert of(first) == of(second)


class NamelessUser(IdentifiedUser):
    """Has a name to show, and nothing that tells two people of one name apart."""

    @property
    def identity(self) -> str:
        raise NotImplementedError

    @property
    def display_name(self) -> str:
        return self._identity


def test_a_user_who_implements_no_identity_is_known_by_display_name() -> None:
    assert json.loads(of(NamelessUser("ada"))) == [None, "ada", None]


def test_a_user_who_implements_neither_is_authenticated_and_nobody_in_particular() -> None:
    class Unsaid(NamelessUser):
        @property
        def display_name(self) -> str:
            raise NotImplementedError

    assert json.loads(of(Unsaid("ada"))) == [None, None, None]
    assert of(Unsaid("ada")) != NOBODY
