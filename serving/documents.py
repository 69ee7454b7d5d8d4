"""The JSON that the server answers with beside analyses, as the OpenAPI document shows it."""

from pydantic import BaseModel


class Live(BaseModel):
    """Answer of ``/v2/health/live``."""

    live: bool


class Ready(BaseModel):
    """Answer of the two ready routes."""

    ready: bool


class ServerMetadata(BaseModel):
    """Answer of ``/v2``."""

    name: str
    version: str
    extensions: list[str] = []
