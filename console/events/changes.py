"""What an event changed: a list of field changes, and the one line that the log shows.

Owns where old and new values are taken from: the two images where both came, else the image there is together with
`updateDescription`. Documents are compared by `diff`, and `text` makes text of values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Final

from console.events.bson_values import bson_type
from console.events.diff import Edit, ElementsEdited, FieldsEdited, Path, Replaced, compare
from console.events.event import ChangeEvent
from console.events.text import excerpt, first_difference, path_text, shorten, type_label, value_text
from console.formatting import visible

# The longest value in a line of the log, in characters.
VALUE_LIMIT: Final = 40


class ChangeKind(StrEnum):
    """What happened to a field. `MOVED`: fields of a subdocument changed their order; `CUT`: an array got shorter."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"
    CUT = "cut"


class MissingValue(Enum):
    """Why a change has no value on one side."""

    ABSENT = "absent"  # there was no such field
    UNKNOWN = "unknown"  # the image did not come


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One change of an event. Array steps of `path` count in the array after (before, for what was removed)."""

    path: Path
    kind: ChangeKind
    before: Any = MissingValue.ABSENT
    after: Any = MissingValue.ABSENT

    def text(self, limit: int = VALUE_LIMIT) -> str:
        """`status pending→uploading`, `+lease {…}`, `-error {…}`; a value takes at most about `limit` characters."""
        path = path_text(self.path) or "document"
        match self.kind:
            case ChangeKind.ADDED:
                return f"+{path} {plain_text(self.after, limit)}"
            case ChangeKind.REMOVED:
                return f"-{path} {plain_text(self.before, limit)}".rstrip()
            case ChangeKind.MOVED:
                return f"{path}: order of fields"
            case ChangeKind.CUT:
                return f"{path} cut to {self.after} elements"
        before, after = both_texts(self.before, self.after, limit)
        return f"{path} {before}→{after}"


def changes(event: ChangeEvent) -> Iterator[FieldChange]:
    """The field changes of an update or replace: what was edited, removed, added; none for other events.

    A replace without both images, and an update without image and description, tell nothing.
    """
    if event.operation not in ("update", "replace"):
        return
    if event.before is not None and event.after is not None:
        yield from edit_changes(compare(event.before, event.after))
    elif event.update is not None:
        yield from described_changes(event.update, event.before)


def summary(event: ChangeEvent, limit: int = 200) -> str:
    """What an event did, in one line of at most `limit` characters; "" where its operation says it all."""
    match event.operation:
        case "insert":
            return _document_text(event.after, limit)
        case "delete":
            return _document_text(event.before, limit)
        case "update" | "replace":
            return _changes_text(event, limit)
        case "rename":
            return shorten(f"→ {visible(event.renamed_to)}", limit)
        case "invalidate":
            return shorten("what was watched is gone: the stream ends here", limit)
    return value_text(event.description, limit) if event.description else ""


def edit_changes(edit: Edit | None, path: Path = ()) -> Iterator[FieldChange]:
    """The changes that an edit is made of."""
    match edit:
        case Replaced(before, after):
            yield FieldChange(path, ChangeKind.CHANGED, before, after)
        case FieldsEdited():
            if edit.moved:
                yield FieldChange(path, ChangeKind.MOVED)
            for key, inner in edit.edited.items():
                yield from edit_changes(inner, (*path, key))
            for key, value in edit.removed.items():
                yield FieldChange((*path, key), ChangeKind.REMOVED, before=value)
            for key, value in edit.added.items():
                yield FieldChange((*path, key), ChangeKind.ADDED, after=value)
        case ElementsEdited():
            for _, index, inner in edit.edited:
                yield from edit_changes(inner, (*path, index))
            for index, value in edit.removed.items():
                yield FieldChange((*path, index), ChangeKind.REMOVED, before=value)
            for index, value in edit.added.items():
                yield FieldChange((*path, index), ChangeKind.ADDED, after=value)


def described_changes(update: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Iterator[FieldChange]:
    """The changes that an `updateDescription` names; the old values from the pre-image where it came."""
    exact = _part(update, "disambiguatedPaths", Mapping) or {}

    def change(name: Any, kind: ChangeKind, after: Any = MissingValue.ABSENT) -> FieldChange:
        path = _described_path(str(name), exact)
        old = MissingValue.UNKNOWN if before is None else _lookup(before, path)
        if kind is ChangeKind.CHANGED and old is MissingValue.ABSENT:
            return FieldChange(path, ChangeKind.ADDED, after=after)
        return FieldChange(path, kind, old, after)

    for name, value in (_part(update, "updatedFields", Mapping) or {}).items():
        yield change(name, ChangeKind.CHANGED, value)
    for name in _part(update, "removedFields", list) or []:
        yield change(name, ChangeKind.REMOVED)
    for cut in _part(update, "truncatedArrays", list) or []:
        if isinstance(cut, Mapping):
            yield change(cut.get("field", ""), ChangeKind.CUT, cut.get("newSize"))


def both_texts(before: Any, after: Any, limit: int) -> tuple[str, str]:
    """The texts of an old and a new value, so that the difference shows: in long strings the part that differs, and
    the types where only they differ. An unknown value is ""."""
    if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > limit:
        position = first_difference(before, after)
        return excerpt(before, position, limit), excerpt(after, position, limit)
    texts = plain_text(before, limit), plain_text(after, limit)
    if MissingValue.UNKNOWN in (before, after) or (bson_type(before) == bson_type(after) and texts[0] != texts[1]):
        return texts
    if bson_type(before) == bson_type(after):
        return f"{texts[0]} (differs further on)", texts[1]
    if texts[0] == texts[1] or {bson_type(before), bson_type(after)} <= {"int", "long", "double", "decimal"}:
        return f"{texts[0]} {type_label(before)}", f"{texts[1]} {type_label(after)}"
    return texts


def plain_text(value: Any, limit: int = VALUE_LIMIT) -> str:
    """As `value_text`, with a string's quotes left away where it cannot be taken for anything else."""
    if isinstance(value, MissingValue):
        return ""
    text = value_text(value, limit)
    if bson_type(value) != "string" or not value or value != value.strip() or _reads_as_other(value):
        return text
    return shorten(visible(value[: limit + 1]), limit)


def _reads_as_other(text: str) -> bool:
    return text[0] in '"{[-+.0123456789' or text in ("null", "true", "false", "NaN", "Infinity")


def _changes_text(event: ChangeEvent, limit: int) -> str:
    if event.operation == "replace" and (event.before is None or event.after is None):
        return _document_text(event.after, limit)
    everything = changes(event)
    words: list[str] = []
    for change in everything:
        words.append(change.text())
        if _length(words) > limit:
            break
    left = sum(1 for _ in everything)
    while len(words) > 1 and _length([*words, f"+{left:,} more"] if left else words) > limit:
        words.pop()
        left += 1
    return shorten(", ".join([*words, f"+{left:,} more"] if left else words), limit)


def _length(words: list[str]) -> int:
    return sum(map(len, words)) + 2 * (len(words) - 1)


def _document_text(document: Mapping[str, Any] | None, limit: int) -> str:
    if document is None:
        return ""
    words: list[str] = []
    room = limit
    for key, value in document.items():
        if key == "_id":
            continue
        words.append(f"{path_text((key,))} {plain_text(value)}")
        room -= len(words[-1]) + 2
        if room < 0:
            break
    return shorten(", ".join(words), limit)


def _part(update: Mapping[str, Any], name: str, kind: type) -> Any:
    value = update.get(name)
    return value if isinstance(value, kind) else None


def _described_path(name: str, exact: Mapping[str, Any]) -> Path:
    """The steps of a dotted name: as the server tells them where dots are ambiguous, else cut at the dots."""
    steps = exact.get(name)
    if isinstance(steps, list) and all(isinstance(step, str | int) for step in steps):
        return tuple(step if isinstance(step, str) else int(step) for step in steps)
    return tuple(name.split("."))


def _lookup(document: Mapping[str, Any], path: Path) -> Any:
    """The value at a path, where a step of digits may mean an element; `MissingValue.ABSENT` where there is none."""
    value: Any = document
    for step in path:
        if isinstance(value, Mapping) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and (index := _index(step)) is not None and index < len(value):
            value = value[index]
        else:
            return MissingValue.ABSENT
    return value


def _index(step: str | int) -> int | None:
    """The element that a step may mean. A document has no array of 10 digits of elements."""
    if isinstance(step, int):
        return step
    return int(step) if len(step) < 10 and step.isdecimal() else None
