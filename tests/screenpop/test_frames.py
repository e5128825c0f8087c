"""What a page says is refused unless it is exactly a message of the protocol."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cti.errors import BadInput
from cti.screenpop.frames import Beat, Hello, body, numbered, parse

HELLO = {"type": "hello", "tab": "3f0c-1", "epoch": None, "last_seq": 0, "take_over": False}
BEAT = {"type": "beat", "seen": 3, "visible": True, "phone": "registered", "microphone": "ok"}


def test_the_two_messages_of_a_page_are_understood() -> None:
    assert parse(json.dumps(HELLO)) == Hello("3f0c-1", None, 0, is_taking_over=False)
    assert parse(json.dumps(BEAT)) == Beat(3, is_visible=True, phone="registered", microphone="ok")


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x01",
        json.dumps(BEAT).encode(),
        "",
        "nonsense",
        "[" * 4000,
        "[]",
        "null",
        '"beat"',
        '{"type":"beat","seen":NaN}',
        json.dumps({**HELLO, "type": "shout"}),
        json.dumps({**HELLO, "type": ["hello"]}),
        json.dumps({**HELLO, "tab": ""}),
        json.dumps({**HELLO, "tab": "a b"}),
        json.dumps({**HELLO, "tab": "x" * 65}),
        json.dumps({**HELLO, "tab": 7}),
        json.dumps({**HELLO, "epoch": {"a": 1}}),
        json.dumps({**HELLO, "last_seq": -1}),
        json.dumps({**HELLO, "last_seq": 1.5}),
        json.dumps({**HELLO, "last_seq": True}),
        json.dumps({**HELLO, "last_seq": 10**40}),
        json.dumps({**HELLO, "take_over": 1}),
        json.dumps({**HELLO, "agent": "somebody.else"}),
        json.dumps({key: value for key, value in HELLO.items() if key != "tab"}),
        json.dumps({**BEAT, "phone": "fine"}),
        json.dumps({**BEAT, "phone": ["registered"]}),
        json.dumps({**BEAT, "visible": "yes"}),
    ],
)
def test_anything_else_is_bad_input(frame: str | bytes) -> None:
    with pytest.raises(BadInput):
        parse(frame)


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists)))
def test_no_frame_does_more_than_be_refused(frame: object) -> None:
    with pytest.raises(BadInput):
        parse(frame if isinstance(frame, str | bytes) else json.dumps(frame))


def test_a_callers_text_stays_text_in_a_frame() -> None:
    message = {"type": "pop", "name": '"},{"type":"x\n\u2028\ud800'}
    sent = json.loads(numbered(body(message), seq=7, now=1795315200.1234))
    assert (sent["seq"], sent["now"], sent["type"]) == (7, 1795315200.123, "pop")
    assert sent["name"] == '"},{"type":"x\n\u2028?'
