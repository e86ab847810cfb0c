"""A node's settings together: where their values come from, and where one has to agree with another."""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from mooring.core.endpoints import Endpoints
from mooring.secret_files import from_secret_files
from mooring.settings.complaint import explained
from mooring.settings.handle_settings import HandleSettings
from mooring.settings.node_settings import NodeSettings
from mooring.settings.path_settings import PathSettings
from mooring.settings.settings_file import settings_file
from mooring.settings.survival_settings import SurvivalSettings
from mooring.settings.time_settings import TimeSettings

ENV_PREFIX: Final = "MOORING_"

SECRET_FILES: Final = ("secret", "status_token", "redis_url")
"""Those that may be in files of their own."""


# Fields are in the order of the bases, from the last to the first: so are they listed in the docs and by the command.
class Settings(TimeSettings, SurvivalSettings, HandleSettings, PathSettings, NodeSettings, BaseSettings):
    """What an operator can choose. `mooring settings` prints this with the values in force."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("lease_seconds: at least twice heartbeat_seconds")
        pages = [self.health_path, self.ready_path, self.status_path, self.traefik_path]
        if len({*pages, *self.endpoints}) < len(pages) + len(self.endpoints):
            raise ValueError(
                "mcp_path: its paths, health_path, ready_path, status_path and traefik_path must all be different"
            )
        known = Endpoints(self.endpoints, finds=False)
        for name in ("health_path", "ready_path", "status_path", "traefik_path"):
            if known.of(getattr(self, name)) is not None:
                raise ValueError(f"{name}: must lie outside mcp_path")
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings in force, with `overrides` (those that are not None) before all other sources.

        Raises:
            SettingsError: names the first setting that is wrong, its value and what would be right.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise explained(error, cls.model_fields) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        secrets = dict(from_secret_files(ENV_PREFIX, SECRET_FILES))
        sources = (InitSettingsSource(settings_cls, given) for given in (secrets, dict(settings_file())))
        return init_settings, env_settings, *sources
