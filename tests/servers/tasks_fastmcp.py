"""FastMCP's own tasks and skills, as its documentation has them: tools that go on after their call was answered.

Where the tasks are kept is said by `FASTMCP_DOCKET_URL`: by default in the process that began them.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.providers.skills import SkillsDirectoryProvider
from fastmcp.skills.extension import SkillsExtension
from fastmcp.utilities.tasks import TaskConfig
from fastmcp_tasks import TasksExtension
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, ElicitResult

from tests.servers.input_required import Answer, ask, name_question

server = FastMCP("tasks")
server.add_extension(TasksExtension())
_skills = SkillsDirectoryProvider(Path(__file__).parent / "skills", experimental_skills=True)
server.add_provider(_skills)
server.add_extension(SkillsExtension(providers=[_skills]))

_ALWAYS = TaskConfig(mode="required")


@server.tool
async def greet(name: str) -> str:
    """Not a task."""
    return f"Hello, {name}!"


@server.tool(task=True)
async def slow_compute(seconds: float, label: str = "") -> str:
    """Takes its time, and says in which process."""
    await asyncio.sleep(seconds)
    return f"{label} computed in {os.getpid()}"


@server.tool(task=_ALWAYS)
async def failing_job() -> str:
    """Fails as a tool does."""
    await asyncio.sleep(0.2)
    raise ToolError("the job failed")


@server.tool(task=True)
async def protocol_error_job() -> str:
    """Fails as a request does."""
    raise MCPError(INTERNAL_ERROR, "the job cannot be done")


@server.tool(task=True)
async def confirm_delete(filename: str, ctx: Context) -> Answer:
    """Asks its client in the middle, and says in which process."""
    answer = (ctx.input_responses or {}).get("user_name")
    if answer is None:
        return ask(user_name=name_question(f"Who wants {filename} deleted?"))
    return f"{filename} deleted for {_name_in(answer)} in {os.getpid()}"


@server.tool(task=True)
async def multi_input(ctx: Context) -> Answer:
    """Asks for two things at once."""
    if {"first", "second"} <= (ctx.input_responses or {}).keys():
        return "both"
    return ask(first=name_question("First?"), second=name_question("Second?"))


@server.tool(task=_ALWAYS)
async def test_tool_with_task(ctx: Context) -> Answer:
    """Cannot be called any other way."""
    answer = (ctx.input_responses or {}).get("user_name")
    return ask(user_name=name_question()) if answer is None else f"Hello, {_name_in(answer)}!"


def _name_in(answer: object) -> object:
    return (answer.content or {}).get("name") if isinstance(answer, ElicitResult) else None


app = server.http_app()
