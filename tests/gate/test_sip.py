"""A phone may speak for itself only; what could be read in two ways is refused."""

from __future__ import annotations

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from cti.errors import BadInput
from cti.gate import sip
from cti.phone_pass import PhonePass

ANN = PhonePass(pbx="pbx1", user="ann", username="ann", session="abc", until=0)


def message(
    first: str = "REGISTER sip:127.0.0.1 SIP/2.0",
    *,
    sender: str = '"Ann Smith" <sip:ann@127.0.0.1>;tag=a1',
    to: str = "<sip:ann@127.0.0.1>",
    more: tuple[str, ...] = (),
    body: str = "",
    length: int | None = None,
) -> bytes:
    """As JsSIP writes it."""
    lines = [
        first,
        "Via: SIP/2.0/WSS u8nu.invalid;branch=z9hG4bK1",
        "Max-Forwards: 69",
        f"To: {to}",
        f"From: {sender}",
        "Call-ID: 3s9k",
        "CSeq: 1 REGISTER",
        *more,
        f"Content-Length: {len(body.encode()) if length is None else length}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


INVITE = "INVITE sip:bo@127.0.0.1 SIP/2.0"
BYE = "BYE sip:asterisk@127.0.0.1:5060;transport=ws SIP/2.0"


@pytest.mark.parametrize(
    "frame",
    [
        message(),
        message(sender="Bo 李 <sip:ann@127.0.0.1>;tag=1"),
        message(sender='"a \\" <sip:bo@x> b" <sip:ann@127.0.0.1>;tag=1'),
        message(sender="sip:ann@127.0.0.1;tag=1", to="sip:ann@127.0.0.1"),
        message(more=('Authorization: Digest algorithm=MD5, username="ann", realm="x", nonce="y"',)),
        message(INVITE, to="<sip:4001@127.0.0.1>", body="v=0\r\no=- 李\r\n"),
        message("SIP/2.0 200 OK", sender="<sip:+4930901820@127.0.0.1>;tag=9", to="<sip:u8nu@x.invalid>;tag=2"),
        # Within a call that the PBX began, the phone is whom the PBX called.
        message(BYE, sender="<sip:3jg8@x.invalid>;tag=2", to="<sip:+4930901820@127.0.0.1>;tag=9"),
        # What a caller is called comes back in answers and within the call.
        message("SIP/2.0 200 OK", sender='"<<odd>> \x01 \\" ; , é" <sip:%00%22@x>;tag=9', to="<sip:u8nu@x>;tag=2"),
        message(BYE, sender="<sip:3jg8@x.invalid>;tag=2", to='"<<odd>> \x01 \\" ; , é" <sip:%00%22:x@x>;tag=9'),
        b"\r\n\r\n",
    ],
)
def test_what_anns_phone_says_passes(frame: bytes) -> None:
    sip.check(frame, ANN)


@pytest.mark.parametrize(
    "frame",
    [
        message(sender="<sip:bo@127.0.0.1>;tag=1"),
        message(to="<sip:bo@127.0.0.1>"),
        # A tag does not make a REGISTER part of a call.
        message(sender="<sip:bo@127.0.0.1>;tag=1", to="<sip:bo@127.0.0.1>;tag=2"),
        message(sender='"<sip:ann@127.0.0.1>" <sip:bo@127.0.0.1>;tag=1'),
        message(sender="<sip:bo@127.0.0.1>;tag=1;x=<sip:ann@127.0.0.1>"),
        message(sender="<sip:a%6En@127.0.0.1>;tag=1"),
        message(sender="<sip:ANN@127.0.0.1>;tag=1"),
        message(sender="<sip:ann:secret@127.0.0.1>;tag=1"),
        message(sender="<tel:+4930901820>;tag=1"),
        message(sender="<sip:ann@127.0.0.1>, <sip:bo@127.0.0.1>;tag=1"),
        message(more=('Authorization: Digest username="bo", realm="x"',)),
        message(more=('Authorization: Digest username="ann", username="bo"',)),
        message(more=('Authorization: Digest username=bo, realm="x"',)),
        message(more=('Proxy-Authorization: Digest username="bo"', 'Authorization: Digest username="ann"')),
        message(INVITE, sender="<sip:bo@127.0.0.1>;tag=1"),
        message(INVITE, sender="<sip:bo@127.0.0.1>;tag=1", to='"x>;tag=1" <sip:4001@127.0.0.1>'),
        message(INVITE, sender="<sip:bo@127.0.0.1>;tag=1", to='<sip:4001@127.0.0.1>;a=">;tag=1"'),
        message("MESSAGE sip:bo@127.0.0.1 SIP/2.0", sender="<sip:bo@127.0.0.1>;tag=1"),
    ],
)
def test_what_another_phone_would_say_does_not(frame: bytes) -> None:
    with pytest.raises(BadInput):
        sip.check(frame, ANN)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        message().replace(b"\r\n", b"\n"),
        message(length=5),
        message(length=0, body="x"),
        # A second message behind the first: the PBX would read it, and we did not.
        message() + message(sender="<sip:bo@127.0.0.1>;tag=1", to="<sip:bo@127.0.0.1>"),
        b"\r\n" + message(),
        message(more=("f: <sip:bo@127.0.0.1>;tag=3",)),
        message(more=("FROM : <sip:bo@127.0.0.1>;tag=3",)),
        message(more=("l: 100",)),
        message(more=("X: a\r\n From: <sip:bo@127.0.0.1>",)),
        message(more=("X: a\rFrom: <sip:bo@127.0.0.1>",)),
        message(more=("X: a\nFrom: <sip:bo@127.0.0.1>",)),
        message(more=("X: \0",)),
        message("REGISTER  sip:127.0.0.1 SIP/2.0"),
        message("register sip:127.0.0.1 SIP/2.0"),
        message("REGISTER sip:127.0.0.1 SIP/3.0"),
        message("SIP/2.0 999 Odd", sender="<sip:ann@127.0.0.1>"),
        message(more=("X: " + "a" * sip.LONGEST_MESSAGE,)),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(frame: bytes) -> None:
    if frame == b"":
        sip.check(frame, ANN)
        return
    with pytest.raises(BadInput):
        sip.check(frame, ANN)


def test_long_runs_that_lead_nowhere_are_refused_at_once() -> None:
    spaces = " " * (sip.LONGEST_MESSAGE // 2)
    for frame in (
        message(sender=f"a{spaces}b"),
        message(sender=f"<sip:ann@x>{spaces}b"),
        message(sender="<sip:ann@x>" + ";a   " * 3000 + '"'),
        message(sender='"' + "\\" * 15_000),
        message(more=(f"X: a{spaces}b", f'Authorization: Digest {spaces}username{spaces[:9000]}="bo')),
    ):
        with pytest.raises(BadInput):
            sip.check(frame, ANN)


@for_all(st.binary(max_size=400))
def test_no_bytes_do_worse_than_being_refused(noise: bytes) -> None:
    for frame in (noise, message()[:60] + noise, message(more=("X: ",))[:-40] + noise):
        try:
            sip.check(frame, ANN)
        except BadInput:
            continue
