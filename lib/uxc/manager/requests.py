"""The operations of the control socket: their arguments checked, their results as JSON."""

from collections.abc import Awaitable, Callable
from typing import Any

from uxc.config.fields import FieldError, stop_signal
from uxc.errors import InvalidError, UxcError, from_kind
from uxc.manager import view
from uxc.manager.configuration import Configuration
from uxc.manager.containers import Containers
from uxc.manager.control import Reply, Request
from uxc.manager.keepers import Keeper
from uxc.manager.settings import Settings, check_name
from uxc.manager.wishes import Wishes
from uxc.protocol import VERSION as PROTOCOL
from uxc.version import VERSION

Operation = Callable[[Request], Awaitable[object]]

# Who asked for these has nobody to tell when it is gone.
PASSIVE = frozenset({"wait"})

_TYPES: dict[type, str] = {str: "a string", bool: "true or false", int: "a number"}


class Requests:
    """Dispatches requests; everything it knows about the world is in the rooms below."""

    def __init__(
        self,
        configuration: Configuration,
        keeper: Keeper,
        containers: Containers,
        wishes: Wishes,
        shut_down: Callable[[bool], Awaitable[None]],
    ) -> None:
        """``shut_down(keeper too)`` ends this process after the answer."""
        self._configuration = configuration
        self._keeper = keeper
        self._containers = containers
        self._wishes = wishes
        self._shut_down = shut_down
        self._operations: dict[str, Operation] = {
            "attach": self._attach,
            "boot": self._boot,
            "create": self._create,
            "delete": self._delete,
            "kill": self._kill,
            "list": self._list,
            "ping": self._ping,
            "reload": self._reload,
            "shutdown": self._shutdown,
            "start": self._start,
            "state": self._state,
            "stop": self._stop,
            "version": self._version,
            "wait": self._wait,
        }

    async def handle(self, request: Request) -> object:
        """Do what ``request`` asks; UxcError says in one line why not, about whom."""
        operation = self._operations.get(request.op)
        if operation is None:
            raise InvalidError(f"unknown operation '{request.op}'")
        try:
            return await operation(request)
        except UxcError as error:
            raise _about(error, request.args.get("name")) from None

    async def _create(self, request: Request) -> object:
        args = _Arguments(request)
        volumes = args.texts("volumes")
        bundle = args.path("bundle")
        settings = Settings(
            bundle=bundle,
            autostart=args.flag_or_none("autostart"),
            temp_overlay_size=args.text_or_none("temp_overlay_size"),
            write_overlay_path=args.path("write_overlay_path"),
            volumes=volumes,
        )
        pid_file = args.path("pid_file") or ""
        record = await self._wishes.create(args.name(), settings, pid_file, request.progress)
        return {"pid": record.pid}

    async def _start(self, request: Request) -> object:
        args = _Arguments(request)
        viewer = await self._wishes.start(args.name(), request.progress, args.flag("console"))
        if viewer is None:
            return None
        record = self._containers.known(args.name())
        return Reply({"terminal": record.terminal}, (viewer.detach(),))

    async def _attach(self, request: Request) -> object:
        args = _Arguments(request)
        viewer, terminal = await self._containers.attach(args.name(), args.flag("read_only"))
        return Reply({"terminal": terminal}, (viewer.detach(),))

    async def _kill(self, request: Request) -> object:
        args = _Arguments(request)
        number = args.signal("signal", "TERM")
        await self._containers.kill(args.name(), number, args.flag("all"))
        return None

    async def _stop(self, request: Request) -> object:
        args = _Arguments(request)
        timeout_s = args.seconds("timeout_s")
        if args.flag("all"):
            return {"failed": await self._wishes.stop_all(timeout_s)}
        await self._wishes.stop(args.name(), timeout_s)
        return {"failed": {}}

    async def _delete(self, request: Request) -> object:
        args = _Arguments(request)
        await self._wishes.delete(args.name(), args.flag("force"), args.flag("keep_section"))
        return None

    async def _wait(self, request: Request) -> object:
        return {"exitcode": await self._containers.wait(_Arguments(request).name())}

    async def _state(self, request: Request) -> object:
        name = _Arguments(request).name()
        record = self._containers.known(name)
        return view.state(name, record, self._configuration.good())

    async def _list(self, request: Request) -> object:
        config = self._configuration.good()
        names = set(config.containers) | set(self._configuration.current().broken)
        names |= {record.name for record in self._containers.book if record.exists or record.making}
        return [
            view.listed(name, self._containers.book.find(name), config, self._keeper.pid)
            for name in sorted(names)
        ]

    async def _boot(self, request: Request) -> object:
        return await self._wishes.boot()

    async def _reload(self, request: Request) -> object:
        return await self._wishes.reload()

    async def _ping(self, request: Request) -> object:
        return "pong"

    async def _version(self, request: Request) -> object:
        return {"version": VERSION, "protocol": PROTOCOL, "keeper_pid": self._keeper.pid}

    async def _shutdown(self, request: Request) -> object:
        await self._shut_down(_Arguments(request).flag("keeper"))
        return None


class _Arguments:
    """The arguments of one request, each of the type it must have; InvalidError otherwise."""

    def __init__(self, request: Request) -> None:
        self._op = request.op
        self._args = request.args

    def name(self) -> str:
        return check_name(self._need("name", str))

    def text_or_none(self, key: str) -> str | None:
        value: str | None = self._typed(key, str)
        return value

    def flag_or_none(self, key: str) -> bool | None:
        value: bool | None = self._typed(key, bool)
        return value

    def flag(self, key: str) -> bool:
        return self._typed(key, bool) or False

    def seconds(self, key: str) -> float | None:
        value: int | None = self._typed(key, int)
        if value is not None and value < 0:
            raise InvalidError(f"{self._op}: '{key}' must not be negative")
        return value

    def path(self, key: str) -> str | None:
        value: str | None = self._typed(key, str)
        if value is None:
            return None
        if not value.startswith("/") or "\0" in value or "\n" in value:
            raise InvalidError(f"{self._op}: '{key}' must be an absolute path")
        return value.rstrip("/") or "/"

    def texts(self, key: str) -> tuple[str, ...] | None:
        value = self._args.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InvalidError(f"{self._op}: '{key}' must be an array of strings")
        return tuple(value)

    def signal(self, key: str, default: str) -> int:
        value = self._args.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise InvalidError(f"{self._op}: '{key}' must be a name or a number")
        try:
            return stop_signal(str(value))
        except FieldError as error:
            raise InvalidError(error.message, error.hint) from None

    def _need(self, key: str, kind: type) -> Any:
        value = self._typed(key, kind)
        if value is None:
            raise InvalidError(f"{self._op}: '{key}' is missing")
        return value

    def _typed(self, key: str, kind: type) -> Any:
        value = self._args.get(key)
        # True is an int for isinstance.
        if value is not None and type(value) is not kind:
            raise InvalidError(f"{self._op}: '{key}' must be {_TYPES[kind]}")
        return value


def _about(error: UxcError, name: object) -> UxcError:
    """Return ``error`` with the container's name in front, unless the message names it."""
    if not isinstance(name, str) or f"'{name}'" in error.message:
        return error
    if error.message.startswith(f"{name}: "):
        return error
    return from_kind(error.kind, f"{name}: {error.message}", error.hint)
