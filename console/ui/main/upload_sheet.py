"""The sheet that `u` opens: what would be uploaded, where to, and what is there already. Enter accepts it.

It opens at once; files are counted and the bucket is looked at behind it. Whoever accepts before it is known whether
something would be overwritten waits for that, at most `LOOK_SECONDS`; where something would be, or where it cannot be
known, the sheet says so and asks for enter once more. Keys that are typed ahead meanwhile are for what comes behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any, ClassVar, Final, cast, get_args

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Label, Static

from console.choices import DuplicatePolicy
from console.errors import UsageError
from console.formatting import byte_size, count, visible
from console.settings.key_template import parse_destination
from console.ui.backend import Backend, UploadChoices, UploadPlan
from console.ui.background import run_in_background, title_and_text
from console.ui.widgets.dialogs import Field, FormDialog
from console.ui.widgets.filter_line import OrderedInput
from console.ui.widgets.text_completion import Completion, listed

LOOK_SECONDS: Final = 2.0
_TYPED_SECONDS: Final = 0.2
_DRAW_SECONDS: Final = 0.1
_SHOWN_PREFIXES: Final = 4
_SHOWN_REFUSALS: Final = 3
_SHOWN_KEYS: Final = 3
POLICIES: Final[tuple[str, ...]] = get_args(DuplicatePolicy)
# Amazon's; compatible servers may have others.
_CLASSES: Final = (
    "STANDARD",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
_FOR_MORE: Final = ("storage_class", "metadata")
_OVERWRITES: Final = ("overwrite", "skip_identical")
_EXISTING: Final = {
    "overwrite": "would be overwritten",
    "skip_identical": "would be skipped if identical, and else overwritten",
    "new_name": "would get a number, as the key is taken",
    "fail": "would fail, as the key is taken",
}
_HINT: Final = "enter uploads · escape does not · tab completes\n↓ next field; below: storage class, metadata"


def read_destination(text: str, bucket: str) -> tuple[str, str]:
    """Bucket and prefix; a text without `s3://` is a prefix of that bucket."""
    if not text.startswith("s3:") and bucket:
        return bucket, text.strip("/")
    try:
        return parse_destination(text)
    except ValueError as error:
        raise UsageError(f"{error}: {text}") from None


def read_policy(text: str) -> str:
    found = [policy for policy in POLICIES if text and policy.startswith(text)]
    if len(found) != 1:
        raise UsageError(f"expected {', '.join(POLICIES[:-1])} or {POLICIES[-1]}: {text}")
    return found[0]


def read_class(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise UsageError(f"expected a storage class such as STANDARD_IA, or nothing: {text}")
    return text


def read_metadata(text: str) -> Mapping[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    values = {name.strip(): value.strip() for name, _, value in pairs}
    if not all(sign and name.strip() for name, sign, _ in pairs) or not text.isascii() or not text.isprintable():
        raise UsageError(f"expected name=value, name=value in ASCII: {text}")
    return values


def metadata_text(metadata: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in metadata.items())


def _fields(usual: UploadChoices) -> list[Field]:
    destination = f"{usual.destination}/" if usual.destination else ""
    names = f"{', '.join(POLICIES[:-1])} or {POLICIES[-1]}"
    return [
        Field("destination", "To", destination, lambda text: read_destination(text.strip(), usual.bucket)),
        Field("duplicates", f"Where a key is taken: {names}", usual.duplicates, lambda text: read_policy(text.strip())),
        Field(
            "storage_class", "Storage class; nothing for S3's own", usual.storage_class, lambda t: read_class(t.strip())
        ),
        Field("metadata", "Metadata: name=value, name=value", metadata_text(usual.metadata), read_metadata),
    ]


def plan_lines(plan: UploadPlan, choices: UploadChoices) -> list[Content]:
    """What is known of a plan, for a person."""
    size = f"{count(plan.files, 'file')}, {byte_size(plan.total_bytes)}"
    lines = [Content.assemble((size, "bold"), "" if plan.is_counted else "  so far…")]
    if plan.first_key:
        first = visible(PurePath(plan.first_path).name)
        lines.append(Content(f"{first} → s3://{visible(choices.bucket)}/{visible(plan.first_key)}"))
    if plan.numbered:
        lines.append(_warning(f"{count(plan.numbered, 'file')} would get the key of another one, and a number instead"))
    if plan.refused:
        lines.append(_warning(f"{count(plan.refused, 'file')} will not be uploaded:"))
        lines += [
            Content(f"  {visible(PurePath(refusal.path).name)}: {visible(refusal.reason)}")
            for refusal in plan.refusals[:_SHOWN_REFUSALS]
        ]
        if plan.refused > _SHOWN_REFUSALS:
            lines.append(Content(f"  and {plan.refused - _SHOWN_REFUSALS:,} more"))
    if plan.awaited:
        lines.append(_warning(f"Of {count(plan.awaited, 'key')} another upload waits or runs already."))
    if plan.files:
        lines.append(_there(plan, choices))
    return lines


def _there(plan: UploadPlan, choices: UploadChoices) -> Content:
    """What of the keys is taken."""
    if plan.unknown:
        return _warning(f"What is there already cannot be seen: {visible(plan.unknown)}")
    if plan.existing:
        of = "" if plan.is_whole else f" of the first {plan.looked_for:,}"
        if choices.duplicates == "skip_identical" and plan.other_size:
            of += f" ({plan.other_size:,} of another size)"
        keys = [visible(PurePath(key).name) for key in plan.existing_keys[:_SHOWN_KEYS]]
        more = ["…"] if plan.existing > len(keys) else []
        return _warning(f"{plan.existing:,}{of} {_EXISTING[choices.duplicates]}: {', '.join([*keys, *more])}")
    if plan.is_whole:
        beyond = plan.files - plan.numbered - plan.looked_for
        return Content("Nothing is there under these keys." if beyond <= 0 else f"{beyond:,} keys were not looked for.")
    looked = f" {plan.looked_for:,} of {plan.files:,}" if plan.looked_for else ""
    return Content.styled(f"Looking what is there already…{looked}", "dim")


def _warning(words: str) -> Content:
    return Content.styled(words, "$warning")


class UploadSheet(FormDialog):
    """Answers with `UploadChoices`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", priority=True, show=False),
        Binding("down", "go(1)", "Next field", priority=True, show=False),
    ]

    def __init__(
        self,
        backend: Backend,
        paths: Sequence[str],
        usual: UploadChoices,
        answered: Callable[[UploadChoices], object],
    ) -> None:
        """`answered` is called only where the person accepts."""
        name = visible(PurePath(paths[0]).name) if len(paths) == 1 else f"{len(paths):,} marked"
        super().__init__(f"Upload {name}", _fields(usual), self._answered_by, _HINT)
        self._backend = backend
        self._paths = tuple(paths)
        self._usual = usual
        self._accepted_by = answered
        self._facts = Static(Content.styled("counting…", "dim"), classes="sheet--facts")
        self._prefixes = Static(classes="sheet--prefixes", markup=False)
        self._completion: Completion | None = None
        self._typing: Timer | None = None
        self._plans = 0  # plans that were begun; those before the last one end
        self._asked = usual  # what the last one is about
        self._latest = UploadPlan()  # set by the thread that plans
        self._drawn: UploadPlan | None = None
        self._told_of: UploadChoices | None = None  # of what the person has seen what is there
        self._waits: asyncio.Event | None = None
        self._typed_before = 0.0

    def _answered_by(self, choices: Mapping[str, Any] | None) -> None:
        self._plans += 1  # the one that is under way ends
        if choices is not None:
            self._accepted_by(choices["choices"])

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog sheet", can_focus=False) as dialog:
            dialog.border_title = Content(self._title)
            yield self._facts
            for field in self._fields:
                yield Label(field.label, markup=False, id=f"label-{field.name}")
                yield OrderedInput(field.text or "", compact=True, id=f"field-{field.name}", classes="dialog--input")
                if field.name == "destination":
                    yield self._prefixes
            yield Static(self._hint, id="dialog-hint", markup=False)

    def on_mount(self) -> None:
        for name in _FOR_MORE:
            self._show_field(name, shown=False)
        self._prefixes.display = False
        line = self._input("destination")
        self._completion = Completion(line, self._find_prefixes, self._prefixes_known, line.value)
        super().on_mount()
        self._plan()
        self.set_interval(_DRAW_SECONDS, self._draw)

    def on_unmount(self) -> None:
        self._plans += 1
        if self._waits is not None:
            self._waits.set()

    def _show_field(self, name: str, *, shown: bool) -> None:
        self.query_one(f"#label-{name}").display = shown
        self._input(name).display = shown

    def _go_to(self, place: int) -> None:
        """What is typed goes on from the destination, and replaces what stands in another field."""
        name = self._fields[place].name
        if name in _FOR_MORE:
            for each in _FOR_MORE:
                self._show_field(each, shown=True)
        super()._go_to(place)
        if name == "destination":
            line = self._input(name)
            line.cursor_position = len(line.value)

    # ---- completing

    def _find_prefixes(self, text: str) -> list[str]:
        bucket, slash, beginning = text.removeprefix("s3://").partition("/")
        if not text.startswith("s3://"):
            bucket, slash, beginning = self._usual.bucket, "/", text
        if not bucket or not slash:
            return []
        lead = text[: len(text) - len(beginning)]
        return [f"{lead}{prefix}" for prefix in self._backend.prefixes(bucket, beginning)]

    def _prefixes_known(self) -> None:
        completion = self._completion
        if completion is None:
            return
        others = [text for text in completion.texts if text != completion.of]
        if completion.problem is not None:
            self._prefixes.update(Content.styled(title_and_text(completion.problem)[1], "dim"))
        else:
            self._prefixes.update(listed(others, most=_SHOWN_PREFIXES))
        self._prefixes.display = completion.problem is not None or bool(others)

    def action_complete(self) -> None:
        """The destination goes on as the bucket's prefixes do; of a few words the next one is taken."""
        line = self.focused
        if not isinstance(line, OrderedInput):
            return
        words = {"field-duplicates": POLICIES, "field-storage_class": _CLASSES}.get(str(line.id))
        if line.id == "field-destination" and self._completion is not None:
            self._completion.complete()
        elif words:
            line.value = _next_word(words, line.value)
            line.select_all()

    # ---- planning

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._completion is None:
            return
        if event.input.id == "field-destination" and event.input.has_focus:
            self._completion.text_changed()
        choices = self._choices()
        if choices is not None and not _same_keys(choices, self._asked):
            if self._typing is not None:
                self._typing.stop()
            self._typing = self.set_timer(_TYPED_SECONDS, self._plan)

    def _choices(self) -> UploadChoices | None:
        """What stands in the fields, if that makes sense."""
        try:
            values = {field.name: field.read(self._input(field.name).value) for field in self._fields}
        except UsageError:
            return None
        return _made(values)

    def _plan(self) -> None:
        choices = self._choices()
        self._plans += 1  # what is known of other keys says nothing
        if choices is None:
            self._latest = UploadPlan(unknown="no destination yet")
            return
        number = self._plans
        self._asked, self._latest, self._told_of = choices, UploadPlan(), None

        def told(plan: UploadPlan) -> bool:
            if number == self._plans:
                self._latest = plan
            return number == self._plans

        def known(plan: UploadPlan) -> None:
            if told(plan):
                self._draw()

        def failed(error: Exception) -> None:
            known(UploadPlan(unknown=": ".join(title_and_text(error)), is_counted=True, is_whole=True))

        call = partial(self._backend.plan_uploads, self._paths, choices, told)
        run_in_background(self.app, call, known, failed)

    def _draw(self) -> None:
        plan = self._latest
        if plan is self._drawn or not self.is_attached:
            return
        self._drawn = plan
        lines = plan_lines(plan, self._asked)
        if plan.unknown and not plan.files:
            lines = [_warning(visible(plan.unknown))]
        self._facts.update(Content("\n").join(lines))
        if plan.is_whole:
            self.call_after_refresh(self._was_seen, self._asked)
            if self._waits is not None:
                self._accept_or_ask()

    def _was_seen(self, choices: UploadChoices) -> None:
        if choices is self._asked:
            self._told_of = choices

    # ---- accepting

    async def takes(self, event: events.Event) -> bool:
        """While it waits for what is there, keys are held; those typed before its question are no answer to it."""
        if self._waits is not None:
            await self._waits.wait()
        return self._is_answered or event.time >= self._typed_before or _is_escape(event)

    def action_accept(self) -> None:
        if self._completion is not None and self._completion.then(self.action_accept):
            return
        values = self.read_fields()
        if values is None or self._waits is not None:
            return
        choices = _made(values)
        if not _same_keys(choices, self._asked):
            self._plan()
        if self._latest.is_counted and not self._latest.files and not self._latest.unknown:
            self.say("there is nothing to upload", is_wrong=True)
        elif choices.duplicates not in _OVERWRITES or self._told_of is self._asked:
            self._accept()
        else:
            self._waits = asyncio.Event()
            self.say("looking what is there already…")
            self.set_timer(LOOK_SECONDS, self._waited)
            if self._latest.is_whole:
                self._accept_or_ask()

    def _waited(self) -> None:
        if self._waits is not None:
            self._ask("S3 has not said yet what is there; enter uploads all the same")
            self.call_after_refresh(self._was_seen, self._asked)

    def _accept_or_ask(self) -> None:
        plan = self._latest
        if plan.files and not _overwritten(plan, self._asked) and not plan.unknown:
            self._accept()
            self._release()
        elif not plan.files:
            self._ask("there is nothing to upload")
        else:
            self._ask("enter once more uploads; escape does not")

    def _ask(self, words: str) -> None:
        self.say(words, is_wrong=True)
        self._typed_before = Message().time
        self._release()

    def _release(self) -> None:
        if self._waits is not None:
            self._waits.set()
            self._waits = None

    def _accept(self) -> None:
        values = self.read_fields()
        if values is not None:
            self.answer({"choices": _made(values)})


def _overwritten(plan: UploadPlan, choices: UploadChoices) -> int:
    """How many objects would be overwritten for sure, or as soon as they are there."""
    there = plan.other_size if choices.duplicates == "skip_identical" else plan.existing
    return there + (plan.awaited if choices.duplicates == "overwrite" else 0)


def _made(values: Mapping[str, Any]) -> UploadChoices:
    bucket, prefix = values["destination"]
    policy = cast(DuplicatePolicy, values["duplicates"])
    return UploadChoices(bucket, prefix, policy, values["storage_class"], values["metadata"])


def _same_keys(one: UploadChoices, other: UploadChoices) -> bool:
    return (one.bucket, one.prefix, one.duplicates) == (other.bucket, other.prefix, other.duplicates)


def _next_word(words: Sequence[str], text: str) -> str:
    """The word that goes on from the text; behind a whole one comes the next."""
    if text in words:
        return words[(words.index(text) + 1) % len(words)]
    return next((word for word in words if word.lower().startswith(text.lower())), text)


def _is_escape(event: events.Event) -> bool:
    return isinstance(event, events.Key) and event.key == "escape"
