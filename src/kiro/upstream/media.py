"""Pictures and documents, brought into the form Kiro takes.

`needs_work` is cheap and usually says no. Otherwise the caller fetches what `links` names
(`upstream.fetch`) and calls `prepare` in a thread, because decoding pictures and PDFs is slow.

Kiro refuses a whole request, and with it every later turn of the session, for one bad picture: a type
that does not match its bytes, more than 5,242,880 base64 characters, more than 8000 pixels a side,
more than 20 pictures. So the type is read from the bytes, what is over a limit is shrunk, what cannot
be saved becomes a line of text that says so, and of too many pictures the newest stay.
"""

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

import msgspec

from kiro.conversation.messages import (
    Conversation,
    Document,
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    Message,
    Part,
    Text,
    ToolResult,
)
from kiro.conversation.pictures import pixels_base64, sniff, sniff_base64
from kiro.upstream.catalogue import Model

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

PartChange: TypeAlias = Callable[[Part], Part]

MAX_IMAGES: Final = 20
MAX_IMAGE_CHARS: Final = 5_242_880
MAX_SIDE: Final = 8_000
MAX_ALL_CHARS: Final = 16_000_000
"""All pictures together; a body may have 20 MB."""
MAX_DOCUMENT_CHARS: Final = 200_000

_OMIT_STEP: Final = 5
"""Old pictures leave five at a time, so that the beginning of the prompt, which Kiro caches, changes rarely."""
_SHRUNK_SIDE: Final = 1_568
_MOST_PIXELS: Final = 120_000_000
"""Larger pictures are not decoded: that is a bomb, or nothing a model could read."""
_MEDIA: Final = (Image, ImageLink, DocumentFile, DocumentLink)
_OMITTED: Final = Text("[image omitted: only the newest pictures are sent]")
_REPEATED: Final = Text("[the same image as before]")
_NO_PICTURES: Final = Text("[image omitted: this model cannot see pictures]")


class Fetched(msgspec.Struct, frozen=True):
    """What stood at an address. `media_type` is what the server claims, in lower case and without parameters."""

    data: bytes
    media_type: str


class NotFetched(msgspec.Struct, frozen=True):
    """Why nothing could be had from an address."""

    why: str


Fetch = Fetched | NotFetched


def needs_work(conversation: Conversation) -> bool:
    """Whether there is any picture, file or link."""
    for message in conversation.messages:
        for part in message.parts:
            if isinstance(part, _MEDIA):
                return True
            if isinstance(part, ToolResult) and any(isinstance(inner, _MEDIA) for inner in part.parts):
                return True
    return False


def links(conversation: Conversation) -> list[str]:
    """The addresses to fetch, each once, in order."""
    parts = (part for message in conversation.messages for part in _flat(message.parts))
    return list(dict.fromkeys(part.url for part in parts if isinstance(part, ImageLink | DocumentLink)))


def _flat(parts: tuple[Part, ...]) -> list[Part]:
    flat: list[Part] = []
    for part in parts:
        flat += _flat(part.parts) if isinstance(part, ToolResult) else (part,)
    return flat


def prepare(conversation: Conversation, model: Model, fetched: Mapping[str, Fetch]) -> Conversation:
    """The conversation with pictures Kiro takes and documents as text. Slow; touches nothing outside."""
    opened = _each_part(conversation, lambda part: _opened(part, fetched))
    if not model.images:
        return _each_part(opened, lambda part: _NO_PICTURES if isinstance(part, Image) else part)
    checked = _each_part(opened, lambda part: _checked(part) if isinstance(part, Image) else part)
    return _newest_only(_without_repeats(checked))


class _EachPart:
    """Applies a function to every part, inside tool results too; keeps untouched messages as they are."""

    def __init__(self, change: PartChange) -> None:
        self._change = change

    def parts(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        changed = tuple(self._part(part) for part in parts)
        return parts if all(new is old for new, old in zip(changed, parts, strict=True)) else changed

    def _part(self, part: Part) -> Part:
        if not isinstance(part, ToolResult):
            return self._change(part)
        inner = self.parts(part.parts)
        return part if inner is part.parts else msgspec.structs.replace(part, parts=inner)


def _each_part(conversation: Conversation, change: PartChange) -> Conversation:
    each = _EachPart(change)
    messages = []
    for message in conversation.messages:
        parts = each.parts(message.parts)
        messages.append(message if parts is message.parts else Message(message.role, parts))
    return msgspec.structs.replace(conversation, messages=tuple(messages))


def _opened(part: Part, fetched: Mapping[str, Fetch]) -> Part:
    """Links and files as pictures or text."""
    if isinstance(part, ImageLink):
        return _linked_image(part, fetched.get(part.url, NotFetched("not fetched")))
    if isinstance(part, DocumentLink):
        return _linked_document(part, fetched.get(part.url, NotFetched("not fetched")))
    if isinstance(part, DocumentFile):
        try:
            data = base64.b64decode(part.data, validate=False)
        except (binascii.Error, ValueError):
            return Text(f"[document {part.title or ''} omitted: it is not valid base64]")
        return _document(part.title, part.media_type, data)
    return part


def _linked_image(part: ImageLink, found: Fetch) -> Part:
    match found:
        case Fetched(data=data, media_type=media_type):
            return Image(base64.b64encode(data).decode(), media_type)
        case NotFetched(why=why):
            return Text(f"[image {part.url} could not be fetched: {why}]")
        case _:
            assert_never(found)


def _linked_document(part: DocumentLink, found: Fetch) -> Part:
    match found:
        case Fetched(data=data, media_type=media_type):
            return _document(part.title or part.url, media_type, data)
        case NotFetched(why=why):
            return Text(f"[document {part.url} could not be fetched: {why}]")
        case _:
            assert_never(found)


def _document(title: str | None, media_type: str, data: bytes) -> Part:
    """A file as text, or as the picture it is, or a note."""
    if data.startswith(b"%PDF"):
        return _pdf(title, data)
    if sniff(data) is not None:
        return Image(base64.b64encode(data).decode(), media_type)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Text(f"[document {title or ''} omitted: {media_type or 'its type'} cannot be read here]")
    return Document(title, clipped(text))


def clipped(text: str) -> str:
    """At most MAX_DOCUMENT_CHARS characters of a document, and a word about the rest."""
    if len(text) <= MAX_DOCUMENT_CHARS:
        return text
    return f"{text[:MAX_DOCUMENT_CHARS]}\n[{len(text) - MAX_DOCUMENT_CHARS} more characters left out]"


def _pdf(title: str | None, data: bytes) -> Part:
    import logging

    import pypdf
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it reports every blemish of every file
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        pages = [page.extract_text() for page in reader.pages]
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        return Text(f"[PDF {title or ''} omitted: it cannot be read ({type(error).__name__})]")
    text = "\n\n".join(page.strip() for page in pages if page.strip())
    if not text:
        return Text(f"[PDF {title or ''} omitted: its {len(pages)} pages hold no text, only pictures]")
    return Document(title, clipped(text))


def _checked(image: Image) -> Part:
    """A picture Kiro takes: real type, sound base64, within the limits; or a note."""
    data = image.data
    if not data.isascii() or any(mark in data for mark in ("\n", "\r", " ", "-", "_", ",")):
        data = _plain_base64(data)
    kind = sniff_base64(data)
    size = pixels_base64(data)
    if kind is None or len(data) > MAX_IMAGE_CHARS or (size is not None and max(size) > MAX_SIDE):
        return _redrawn(data, size)
    if not _is_base64(data):
        return Text("[image omitted: its data is damaged]")
    media_type = f"image/{kind}"
    return image if (data, media_type) == (image.data, image.media_type) else Image(data, media_type)


def _is_base64(data: str) -> bool:
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except binascii.Error:
        return False
    return True


def _plain_base64(data: str) -> str:
    """Standard base64 on one line: no data-URL prefix, no line breaks, no URL-safe letters."""
    if data.startswith("data:"):
        data = data.partition(",")[2]
    return "".join(data.split()).replace("-", "+").replace("_", "/")


def _redrawn(encoded: str, size: tuple[int, int] | None) -> Part:
    """The picture decoded and encoded anew within the limits (PNG, or JPEG when that is too large), or a note."""
    if size is not None and size[0] * size[1] > _MOST_PIXELS:
        return Text(f"[image omitted: {size[0]}x{size[1]} pixels are too many]")
    import warnings

    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            picture: PilImage = PIL.Image.open(io.BytesIO(base64.b64decode(encoded)))
            picture.thumbnail((_SHRUNK_SIDE, _SHRUNK_SIDE))
            small = _encoded(picture, "PNG")
            kind = "png"
            if len(small) > MAX_IMAGE_CHARS:
                small, kind = _encoded(picture, "JPEG"), "jpeg"
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
        return Text("[image omitted: it cannot be read as a picture]")
    return Image(small, f"image/{kind}")


def _encoded(picture: "PilImage", kind: str) -> str:
    flat = picture.convert("RGB") if kind == "JPEG" or picture.mode not in ("1", "L", "P", "RGB", "RGBA") else picture
    buffer = io.BytesIO()
    flat.save(buffer, kind, quality=85)
    return base64.b64encode(buffer.getvalue()).decode()


def _without_repeats(conversation: Conversation) -> Conversation:
    """A picture that stands in the history already is not sent again; the current turn keeps all of its own."""
    seen: set[str] = set()

    def change(part: Part) -> Part:
        if not isinstance(part, Image):
            return part
        if part.data in seen:
            return _REPEATED
        seen.add(part.data)
        return part

    messages = conversation.messages
    current = len(messages)
    while current and messages[current - 1].role != "assistant":
        current -= 1
    history = _each_part(msgspec.structs.replace(conversation, messages=messages[:current]), change)
    return msgspec.structs.replace(conversation, messages=(*history.messages, *messages[current:]))


def _newest_only(conversation: Conversation) -> Conversation:
    """At most MAX_IMAGES pictures and MAX_ALL_CHARS characters of them: the newest ones."""
    sizes = [
        len(part.data) for message in conversation.messages for part in _flat(message.parts) if isinstance(part, Image)
    ]
    omitted = _steps(max(0, len(sizes) - MAX_IMAGES))
    while omitted < len(sizes) and sum(sizes[omitted:]) > MAX_ALL_CHARS:
        omitted = _steps(omitted + 1)
    if not omitted:
        return conversation
    place = 0

    def change(part: Part) -> Part:
        nonlocal place
        if not isinstance(part, Image):
            return part
        place += 1
        return _OMITTED if place <= omitted else part

    return _each_part(conversation, change)


def _steps(count: int) -> int:
    return -(-count // _OMIT_STEP) * _OMIT_STEP
