"""TOML that people write: whatever the parser says of it, it is a mistake of theirs."""

import tomllib
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from .errors import UserError

M = TypeVar("M", bound=BaseModel)


class _Text(Protocol):
    def is_file(self) -> bool: ...

    def read_text(self, encoding: str | None = None) -> str: ...


def read_text(file: _Text, source: str) -> str:
    """The text of a file that somebody wrote in an editor.

    Args:
        file: a path, or a file of an installed package.
        source: name of the file in messages.

    Raises:
        UserError: there is no such file, or it is not text. A pipe is no file, as reading one can
            wait forever.
    """
    if not file.is_file():
        raise UserError(f"there is no file {source}")
    try:
        return file.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not text in UTF-8: {error.reason}") from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The content of a TOML text.

    Args:
        text: the TOML.
        source: name of the text in messages.

    Raises:
        UserError: the text is not TOML, or nests too deep.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:  # not TOML, or a number of more digits than Python reads
        raise UserError(f"{source} is not TOML: {error}") from None
    except RecursionError:
        raise UserError(f"{source} is not TOML that can be read: it nests too deep") from None


def read_model(model: type[M], file: _Text, source: str) -> M:
    """A TOML file that somebody wrote, as a model.

    Args:
        model: what the file must say.
        file: a path, or a file of an installed package.
        source: name of the file in messages.

    Raises:
        UserError: there is no such file, or it says something else. The message names the file and
            every mistake.
    """
    content = parse_toml(read_text(file, source), source)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise UserError.of(mistakes, source) from None
