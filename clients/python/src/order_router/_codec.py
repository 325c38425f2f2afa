"""JSON documents to models and back, with exact numbers: no float touches a price, a quantity or an amount."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import functools
import json
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from .errors import MalformedReply

T = TypeVar("T")
Decoder = Callable[[object, str], Any]

NumberInput = Decimal | int | str
"""An exact number in a request. A float is refused: ``0.1`` as a float is not one tenth."""


def parse(body: bytes) -> object:
    """Returns the JSON document of a body, its fractions as ``Decimal``.

    Raises ``MalformedReply`` if the body is not JSON.
    """
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise MalformedReply(f"the body is not JSON: {error}") from None


def decode(model: type[T], document: object) -> T:
    """Returns a document as a model. Fields that the model does not know are ignored: replies may gain fields.

    Raises ``MalformedReply`` if a required field is missing or a value has another type.
    """
    return typing.cast(T, _decoder(typing.cast(Hashable, model))(document, model.__name__))


def encode(model: object) -> dict[str, object]:
    """Returns a request model as a JSON object without its absent fields.

    Raises ``TypeError`` for a float or a value that JSON cannot hold, ``ValueError`` for a number that is not finite
    or a time without an offset.
    """
    document = _encode_value(model, type(model).__name__)
    assert isinstance(document, dict)
    return document


def dump(model: object) -> bytes:
    """Returns a request model as a JSON body. Raises what ``encode`` raises."""
    return json.dumps(encode(model), separators=(",", ":"), allow_nan=False).encode()


def timestamp(moment: datetime.datetime) -> str:
    """Returns a moment as RFC 3339 in UTC with microseconds. Raises ``ValueError`` without an offset."""
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as datetime.now(timezone.utc)")
    utc = moment.astimezone(datetime.timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def _encode_value(value: object, path: str) -> object:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{path} is not a finite number")
        return format(value, "f")
    if isinstance(value, float):
        raise TypeError(f"{path} is a float, which is not exact: use Decimal, str or int")
    if isinstance(value, datetime.datetime):
        return timestamp(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        encoded = {name: _encode_value(getattr(value, name), f"{path}.{name}") for name in names}
        return {name: one for name, one in encoded.items() if one is not None}
    if isinstance(value, Mapping):
        return {str(name): _encode_value(one, f"{path}.{name}") for name, one in value.items()}
    if isinstance(value, collections.abc.Sequence):
        return [_encode_value(one, f"{path}[{index}]") for index, one in enumerate(value)]
    raise TypeError(f"{path} is a {type(value).__name__}, which a request cannot hold")


def _wrong(path: str, wanted: str, value: object) -> MalformedReply:
    return MalformedReply(f"{path} is {type(value).__name__}, not {wanted}")


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "a string", value)
    return value


def _integer(value: object, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(path, "an integer", value)
    return value


def _boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, "true or false", value)
    return value


def _decimal(value: object, path: str) -> Decimal:
    """Also takes a number in a string, which REST sends with ``numbers=string``."""
    if isinstance(value, (Decimal, int, str)) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise _wrong(path, "a number", value) from None
        if number.is_finite():
            return number
    raise _wrong(path, "a number", value)


def _moment(value: object, path: str) -> datetime.datetime:
    text = _text(value, path)
    if text[-1:] in ("Z", "z"):
        text = text[:-1] + "+00:00"  # fromisoformat takes no Z before Python 3.11
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(path, "an RFC 3339 time", value) from None
    if moment.tzinfo is None:
        raise _wrong(path, "a time with an offset", value)
    return moment.astimezone(datetime.timezone.utc)


def _date(value: object, path: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(_text(value, path))
    except ValueError:
        raise _wrong(path, "a date", value) from None


def _anything(value: object, _path: str) -> object:
    return value


_PLAIN: dict[object, Decoder] = {
    str: _text,
    int: _integer,
    bool: _boolean,
    Decimal: _decimal,
    datetime.datetime: _moment,
    datetime.date: _date,
    object: _anything,
}


@functools.lru_cache(maxsize=512)
def _decoder(hint: Hashable) -> Decoder:
    """Returns the decoder of a type annotation; ``TypeError`` for one that no model uses."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if dataclasses.is_dataclass(hint):
        return _model_decoder(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return _text  # a word that a newer router added is passed on
    if origin in (typing.Union, types.UnionType):
        return _union_decoder(arguments)
    if origin is collections.abc.Sequence:
        return _list_decoder(_decoder(arguments[0]))
    if origin is collections.abc.Mapping:
        return _mapping_decoder(_decoder(arguments[1]))
    raise TypeError(f"no decoder for {hint}")


def _list_decoder(item: Decoder) -> Decoder:
    def decode_list(value: object, path: str) -> object:
        if not isinstance(value, list):
            raise _wrong(path, "an array", value)
        return tuple(item(one, f"{path}[{index}]") for index, one in enumerate(value))

    return decode_list


def _mapping_decoder(item: Decoder) -> Decoder:
    def decode_mapping(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        return {name: item(one, f"{path}.{name}") for name, one in value.items()}

    return decode_mapping


def _union_decoder(members: tuple[Any, ...]) -> Decoder:
    """Decodes ``X | None``, a number or a text, or one of several models with a constant ``kind`` each."""
    present = tuple(member for member in members if member is not type(None))
    if len(present) == 1:
        inner = _decoder(present[0])
    elif set(present) <= {Decimal, int, str}:
        inner = _number_or_text
    elif all(dataclasses.is_dataclass(member) for member in present):
        inner = _tagged_decoder({_kind(member): _decoder(member) for member in present})
    else:
        inner = _first_decoder([_decoder(member) for member in present])

    def decode_optional(value: object, path: str) -> object:
        return None if value is None and type(None) in members else inner(value, path)

    return decode_optional


def _first_decoder(decoders: list[Decoder]) -> Decoder:
    def decode_first(value: object, path: str) -> object:
        for decoder in decoders[:-1]:
            try:
                return decoder(value, path)
            except MalformedReply:
                continue
        return decoders[-1](value, path)

    return decode_first


def _number_or_text(value: object, path: str) -> object:
    return value if isinstance(value, str) else _decimal(value, path)


def _kind(model: Any) -> str:
    return str(typing.get_args(typing.get_type_hints(model)["kind"])[0])


def _tagged_decoder(models: dict[str, Decoder]) -> Decoder:
    def decode_tagged(value: object, path: str) -> object:
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind not in models:
            raise MalformedReply(f"{path}.kind is {kind!r}, not one of {', '.join(models)}")
        return models[kind](value, path)

    return decode_tagged


def _model_decoder(model: Any) -> Decoder:
    hints = typing.get_type_hints(model)
    missing = dataclasses.MISSING
    fields = [
        (field.name, _decoder(hints[field.name]), field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(model)
    ]

    def decode_model(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        found: dict[str, object] = {}
        for name, decoder, is_required in fields:
            if name in value and (value[name] is not None or is_required):
                found[name] = decoder(value[name], f"{path}.{name}")
            elif is_required:
                raise MalformedReply(f"{path}.{name} is missing")
        return model(**found)

    return decode_model
