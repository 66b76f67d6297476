"""API keys: who may do what. The file holds digests; a key itself is shown once, when it is made."""

import hashlib
import hmac
import json
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock
from limits import RateLimitItem, parse_many
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from model.errors import ConfigError, UnavailableError

__all__ = ["Key", "KeyFile", "Keys", "Scope", "parse_rate"]

Scope = Literal["read", "write", "admin"]

PREFIX = "hdrm"
ID_BYTES, SECRET_BYTES = 4, 32
LOCK_SECONDS = 10.0
MOST_REQUESTS = 10**9  # of a rate


class Key(BaseModel):
    """A key, but for the secret.

    Attributes:
        id: names the key, in lists and logs.
        name: what it is for, for people.
        digest: hexadecimal SHA-256 of the whole key; it is random enough that nothing slower is called for.
        scopes: read, for all that is answered; write, for events and items; admin, for users' data.
        rate: how many requests, such as 100/second; None for any number.
        created_at: seconds since 1970.
        revoked_at: when it ceased to be valid; None while it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    digest: str
    scopes: tuple[Scope, ...]
    rate: str | None = None
    created_at: float
    revoked_at: float | None = None

    @field_validator("rate")
    @classmethod
    def _usable_rate(cls, value: str | None) -> str | None:
        if value is not None:
            parse_rate(value)
        return value


class _Content(BaseModel):
    """Of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Keys:
    """All keys at one time.

    Attributes:
        keys: those that are valid, by id.
    """

    keys: dict[str, Key]

    def find(self, token: str) -> Key | None:
        """The valid key that a token is, None if it is none; compared in constant time."""
        prefix, _, rest = token.partition("_")
        key = self.keys.get(rest.partition("_")[0]) if prefix == PREFIX else None
        given = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        return key if key is not None and hmac.compare_digest(given, key.digest) else None


class KeyFile:
    """The file that keys are in. Any number of processes may read it while one writes.

    Args:
        path: the file; that it is not there means that no keys are in use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._keys: Keys | None = None

    @property
    def in_use(self) -> bool:
        """Whether requests need a key."""
        return self.current() is not None

    def current(self) -> Keys | None:
        """The keys as they are now; None where none are in use. A file that was there once and is not any more, or that
        cannot be read, lets nobody in."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            if self._keys is not None:
                self._keys, self._stamp = Keys({}), None
            return self._keys
        except OSError:
            self._keys, self._stamp = Keys({}), None
            return self._keys
        stamp = state.st_mtime_ns, state.st_size, state.st_ino
        if stamp != self._stamp or self._keys is None:
            try:
                valid = {key.id: key for key in self.read() if key.revoked_at is None}
            except (ConfigError, UnavailableError):
                valid = {}
            self._keys, self._stamp = Keys(valid), stamp
        return self._keys

    def read(self) -> tuple[Key, ...]:
        """All keys, revoked ones too; none if there is no file.

        Raises:
            ConfigError: the file is not what it should be.
            UnavailableError: it cannot be read.
        """
        try:
            return _Content.model_validate_json(self.path.read_bytes()).keys
        except FileNotFoundError:
            return ()
        except ValidationError as error:
            raise ConfigError(
                f"{self.path}: not a file of keys ({error.error_count()} errors)",
                hint="restore it, or remove it and make new keys",
            ) from error
        except OSError as error:
            raise UnavailableError(f"{self.path}: cannot be read ({error.strerror})") from error

    def create(self, name: str, scopes: tuple[Scope, ...], rate: str | None) -> tuple[str, Key]:
        """A new key: the secret that is not kept, and the rest.

        Raises:
            ConfigError: no name, no scope or one that there is not, or a rate that is none.
            UnavailableError: the file cannot be written.
        """
        if not name.strip():
            raise ConfigError("--name: got nothing, expected what the key is for")
        if not scopes or not set(scopes) <= set(get_args(Scope)):
            raise ConfigError(f"--scope: got {', '.join(scopes) or 'none'}, allowed: {', '.join(get_args(Scope))}")
        if rate is not None:
            parse_rate(rate)
        id_ = secrets.token_hex(ID_BYTES)
        token = f"{PREFIX}_{id_}_{secrets.token_urlsafe(SECRET_BYTES)}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        ordered = tuple(scope for scope in get_args(Scope) if scope in scopes)
        key = Key(id=id_, name=name, digest=digest, scopes=ordered, rate=rate, created_at=time.time())
        with self._lock():
            self._write((*self.read(), key))
        return token, key

    def revoke(self, id_: str) -> Key:
        """End a key.

        Raises:
            ConfigError: there is no valid key of this id.
            UnavailableError: the file cannot be written.
        """
        with self._lock():
            keys = self.read()
            valid = [key for key in keys if key.id == id_ and key.revoked_at is None]
            if not valid:
                raise ConfigError(f"no valid key {id_}", hint="hdrm keys list shows which there are")
            revoked = valid[0].model_copy(update={"revoked_at": time.time()})
            self._write(tuple(revoked if key.id == id_ else key for key in keys))
        return revoked

    def _lock(self) -> FileLock:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"{self.path}: cannot be written ({error.strerror})") from error
        return FileLock(self.path.with_name(self.path.name + ".lock"), timeout=LOCK_SECONDS)

    def _write(self, keys: tuple[Key, ...]) -> None:
        """All or nothing, whatever happens meanwhile."""
        content = json.dumps(_Content(keys=keys).model_dump(mode="json"), indent=1)
        try:
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
            with os.fdopen(descriptor, "w") as file:
                file.write(content + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except OSError as error:
            raise UnavailableError(f"{self.path}: cannot be written ({error.strerror})") from error


def parse_rate(rate: str) -> RateLimitItem:
    """A rate such as 100/second or 5000/hour.

    Raises:
        ConfigError: it is none.
    """
    try:
        [item] = parse_many(rate)
        usable = 1 <= item.amount <= MOST_REQUESTS and item.multiples >= 1
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"rate: got {rate!r}, expected a number of requests in a time, such as 100/second or 5000/hour"
        )
    return item
