"""One command for each load balancer that the catalogue knows."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from mooring.cli.chosen_cluster import REGISTRY_SETTINGS, find_cluster
from mooring.cli.flags import Debug, RunDir, new_app, with_settings
from mooring.cli.ingress.following import keep_files, topology_now
from mooring.cli.ingress.reloading import reload_by
from mooring.cli.logs import configure_logging
from mooring.errors import MooringError, SettingsError
from mooring.files import replace_file
from mooring.ingress import azure as azure_lines
from mooring.ingress import caddy, nginx, traefik_kubernetes
from mooring.ingress import traefik as traefik_proxy
from mooring.ingress.azure import AzureApp
from mooring.ingress.catalogue import PROXIES
from mooring.ingress.proxy import ADDRESS, Choice, Files, Proxy
from mooring.ingress.topology import Topology
from mooring.ingress.traefik import INSECURE_COOKIES, FromNodes
from mooring.settings import Settings

app = new_app()

SETTINGS: Final = REGISTRY_SETTINGS | {"mcp_path", "health_path", "ready_path", "lease_seconds"}

_YAML: Final = (".yml", ".yaml")
_NODES: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")

Output: TypeAlias = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE, by rename.")
]
Part: TypeAlias = Annotated[
    bool, typer.Option("--part", help="Only what follows the nodes, to be merged into your own configuration.")
]
Keep: TypeAlias = Annotated[bool, typer.Option("--watch", help="Keep FILE up to date with the nodes.")]
Address: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT", help="Where clients connect; :8080 for all addresses, [::]:8080 for those of IPv6, too."
    ),
]
InsecureCookies: TypeAlias = Annotated[
    bool, typer.Option("--insecure-cookies", help="Let the sticky cookie travel over plain http.")
]
ReloadCommand: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--reload",
        metavar="COMMAND",
        show_default=False,
        help="With --watch: run this after each change, {file} being FILE; nothing where it is empty.",
    ),
]


@app.callback()
def ingress() -> None:
    """Print the configuration for your own load balancer."""


def _add(proxy: Proxy) -> None:
    """A command that has nothing but what all have."""

    @with_settings(only=SETTINGS)
    def command(
        part: Part = False,
        output: Output = None,
        keep: Keep = False,
        reload: ReloadCommand = None,
        address: Address = ADDRESS,
        insecure_cookies: InsecureCookies = False,
        run_dir: RunDir = None,
        debug: Debug = False,
        **given: Any,
    ) -> None:
        configure_logging(debug=debug)
        choice = checked(Choice(address, secure_cookie=not insecure_cookies))
        write(proxy, choice, part, output, keep, reload, run_dir, given)

    command.__doc__ = f"""Print a configuration of {proxy.PROGRAM} for the nodes that are alive now.

    The program can be started with it as it is; TLS is left to you. With --output and --watch it runs until it is
    stopped, replaces FILE whenever nodes or shards change{_and_reloads(proxy)}.
    """
    app.command(proxy.NAME)(command)


def _and_reloads(proxy: Proxy) -> str:
    return f", and runs `{proxy.RELOAD}`" if proxy.RELOAD else "; the program reads it again by itself"


@app.command()
@with_settings(only=SETTINGS)
def traefik(
    part: Annotated[
        bool, typer.Option("--part", "--dynamic", help="Only what follows the nodes, Traefik's dynamic configuration.")
    ] = False,
    static: Annotated[bool, typer.Option("--static", help="Only what Traefik reads when it starts.")] = False,
    output: Output = None,
    keep: Keep = False,
    address: Address = ADDRESS,
    dynamic_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where Traefik finds the dynamic part (--static).")
    ] = None,
    from_nodes: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="Let Traefik ask the nodes for the dynamic part, at a name that leads to any of them, such as "
            "http://nodes:8000; MOORING_STATUS_TOKEN is needed (--static).",
        ),
    ] = None,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Write objects of Kubernetes, for Traefik's provider of that name.")
    ] = False,
    reload: ReloadCommand = None,
    insecure_cookies: InsecureCookies = False,
    run_dir: RunDir = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Print a configuration of Traefik 3.7.12 or later for the nodes that are alive now.

    It is in two files: FILE, which Traefik is started with, and FILE-dynamic beside it, which FILE names. With --output
    and --watch it runs until it is stopped, and replaces the second whenever nodes or shards change; Traefik reads it
    again by itself.

    With --static --from-nodes URL there is one file, with the status token in it: FILE is then readable by its owner
    alone, and what is printed has a placeholder for it.

    With --kubernetes there are IngressRoute objects instead; with --watch they are applied by `kubectl` (--reload).
    """
    configure_logging(debug=debug)
    choice = checked(Choice(address, secure_cookie=not insecure_cookies))
    if static:
        if part or keep or kubernetes or reload:
            raise typer.BadParameter("it is the part that never changes", param_hint="--static")
        if dynamic_file is not None and from_nodes is not None:
            raise typer.BadParameter("Traefik asks the nodes in place of a file", param_hint="--from-nodes")
        need_ending(traefik_proxy, output, "--output")
        need_ending(traefik_proxy, dynamic_file, "--dynamic-file")
        file = output or Path(traefik_proxy.FILE)
        nodes = None if from_nodes is None else asked(from_nodes, choice, is_printed=output is None)
        put(traefik_proxy.static_file(choice, file, dynamic_file, nodes), output, private=nodes is not None)
        return
    if dynamic_file is not None:
        raise typer.BadParameter("it is said to Traefik when it starts: give --static", param_hint="--dynamic-file")
    if from_nodes is not None:
        raise typer.BadParameter("it is said to Traefik when it starts: give --static", param_hint="--from-nodes")
    if reload and not kubernetes:
        raise typer.BadParameter("Traefik watches its file: give --kubernetes", param_hint="--reload")
    proxy: Proxy = traefik_kubernetes if kubernetes else traefik_proxy
    write(proxy, choice, part, output, keep, reload, run_dir, given)


@app.command()
def azure(
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="The app's name.", show_default=False)],
    group: Annotated[
        str,
        typer.Option(
            "--resource-group", "-g", metavar="GROUP", help="The resource group it is in.", show_default=False
        ),
    ],
    min_replicas: Annotated[int, typer.Option(min=1, help="How many replicas there are at least.")] = 2,
    stop_seconds: Annotated[
        int, typer.Option(min=0, max=570, help="How long running requests may go on when a replica is stopped.")
    ] = 60,
    output: Output = None,
    debug: Debug = False,
) -> None:
    """Print the `az` command lines for an app that runs on Azure Container Apps already.

    They set what MCP needs of its ingress, and show whether it holds. Nothing is run. The lines were checked against
    the parser of azure-cli, and never tried in a subscription. For a new app there is deploy/azure in the repository.
    """
    configure_logging(debug=debug)
    endpoint = Settings.load().main_endpoint
    put(
        {output or Path("az.sh"): azure_lines.dump(AzureApp(name, group, endpoint, min_replicas, stop_seconds))}, output
    )


for _proxy in PROXIES:
    if _proxy.NAME != traefik_proxy.NAME:
        _add(_proxy)


def checked(choice: Choice) -> Choice:
    """The same, if its address is one.

    Raises:
        typer.BadParameter: it is not.
    """
    if not choice.has_address:
        raise typer.BadParameter("it is HOST:PORT, or :PORT for all addresses", param_hint="--address")
    return choice


def write(
    proxy: Proxy,
    choice: Choice,
    part: bool,
    output: Path | None,
    keep: bool,
    reload: str | None,
    run_dir: Path | None,
    given: dict[str, Any],
) -> None:
    """What every command does: print the files, write them, or keep them."""
    if keep and output is None:
        raise typer.BadParameter("it keeps a file up to date: give --output FILE", param_hint="--watch")
    if keep and output is not None and output.exists() and not output.is_file():
        raise typer.BadParameter(
            f"{output} is no file, and cannot be replaced whenever nodes change", param_hint="--output"
        )
    if reload and not keep:
        raise typer.BadParameter("it is run when FILE has changed: give --watch", param_hint="--reload")
    if keep and part and reload is None and proxy in (nginx, caddy):
        what = "FILE is a part, and the command by default loads it as the whole: give your own, or '' for none"
        raise typer.BadParameter(what, param_hint="--reload")
    need_ending(proxy, output, "--output")
    file = output or Path(proxy.FILE)

    def texts_of(topology: Topology) -> Files:
        return (proxy.part if part else proxy.whole)(topology, choice, file)

    cluster = find_cluster(run_dir, given)
    if proxy.NAME == traefik_proxy.NAME:
        _tell_of_hidden(cluster.settings.hidden_arguments)
    if keep:
        command = proxy.RELOAD if reload is None else reload
        asyncio.run(keep_files(cluster, texts_of, reload_by(command, file) if command else None))
    else:
        put(texts_of(asyncio.run(topology_now(cluster))), output)


def need_ending(proxy: Proxy, file: Path | None, flag: str) -> None:
    """Traefik and Envoy know by a file's ending how to read it; `kubectl` does not.

    Raises:
        typer.BadParameter: it is one that they read as something else, or not at all.
    """
    reads_by_ending = Path(proxy.FILE).suffix in _YAML and proxy is not traefik_kubernetes
    is_file = file is not None and (file.is_file() or not file.exists())
    if reads_by_ending and is_file and file is not None and file.suffix not in _YAML:
        raise typer.BadParameter(
            f"{proxy.NAME} reads a file by its ending, which has to be .yaml or .yml", param_hint=flag
        )


def _tell_of_hidden(arguments: tuple[str, ...]) -> None:
    """Which arguments to mark, so that no call with them needs a hop."""
    if arguments:
        names = ",".join(argument.replace("_", "-").title() for argument in arguments)
        typer.echo(
            f"calls that name a handle in {', '.join(arguments)} are passed on by nodes: no header says it. They go "
            f'straight to their node with handle_params = "{names}", and x-mcp-header in the schemas of their tools '
            "(mark_handle_params = true puts it there)",
            err=True,
        )


def asked(url: str, choice: Choice, *, is_printed: bool) -> FromNodes:
    """Where Traefik asks the nodes.

    Raises:
        SettingsError: there is no status token, without which nodes do not answer.
        typer.BadParameter: that is no URL.
    """
    if not _NODES.fullmatch(url):
        raise typer.BadParameter("it is a URL such as http://nodes:8000", param_hint="--from-nodes")
    settings = Settings.load()
    if settings.status_token is None:
        raise SettingsError("status_token", None, "needed with --from-nodes: set MOORING_STATUS_TOKEN, as on the nodes")
    query = "" if choice.secure_cookie else f"?{INSECURE_COOKIES}"
    token = "<MOORING_STATUS_TOKEN>" if is_printed else settings.status_token.get_secret_value()
    return FromNodes(f"{url.rstrip('/')}{settings.traefik_path}{query}", token)


def put(files: Files, output: Path | None, *, private: bool = False) -> None:
    """Print them, the one that the program is started with before the others; or write each by rename.

    Raises:
        MooringError: one cannot be written.
    """
    if output is None:
        between = "---\n" if all(file.suffix in _YAML for file in files) else "\n"
        heads = len(files) > 1
        texts = [f"# {file}\n{text}" if heads else text for file, text in reversed(list(files.items()))]
        typer.echo(between.join(texts), nl=False)
        return
    for file, text in files.items():
        try:
            replace_file(file, text, private=private)
        except OSError as error:
            raise MooringError(f"cannot write {file}: {error.strerror}") from error
