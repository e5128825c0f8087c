"""A pass speaks for itself: whose it is, until when, and that nobody but us signed it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cti.errors import SettingsError
from cti.phone_pass import KEY_FILE, REVOKED_FILE, PassKey, PhonePass, Revocations

NOW = 1_795_000_000.0
ANN = PhonePass(pbx="pbx1", user="ann", username="ann", session="abc", until=NOW + 600)


def test_a_pass_is_read_by_another_process_with_the_same_folder_until_it_runs_out(tmp_path: Path) -> None:
    signed = PassKey.open(tmp_path / "gate").sign(ANN)
    gate = PassKey.open(tmp_path / "gate")
    assert gate.read(signed, now=NOW) == ANN
    assert gate.read(signed, now=NOW + 599) == ANN
    assert gate.read(signed, now=NOW + 600) is None


def test_the_key_is_readable_by_its_owner_only_and_made_once(tmp_path: Path) -> None:
    PassKey.open(tmp_path)
    path = tmp_path / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_bytes()
    PassKey.open(tmp_path)
    assert path.read_bytes() == first
    assert [one.name for one in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("content", ["", "00", "not hex at all", "ab" * 31])
def test_a_file_that_holds_no_key_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(SettingsError, match=r"gate\.pass_folder: .*pass\.key holds no key"):
        PassKey.open(tmp_path)


def test_a_key_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    PassKey.open(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        PassKey.open(tmp_path)


def test_a_pass_that_was_changed_in_any_place_opens_nothing(tmp_path: Path) -> None:
    key = PassKey.open(tmp_path)
    signed = key.sign(ANN)
    for place in range(len(signed)):
        other = "A" if signed[place] != "A" else "B"
        changed = signed[:place] + other + signed[place + 1 :]
        assert key.read(changed, now=NOW) is None, place


@pytest.mark.parametrize("text", ["", ".", "a.b", "ä.ö", "\udcff.", "." * 1999, "x" * 100_000, "e30.", "W10.W10"])
def test_what_is_no_pass_opens_nothing(tmp_path: Path, text: str) -> None:
    assert PassKey.open(tmp_path).read(text, now=NOW) is None


def test_a_pass_of_another_site_opens_nothing(tmp_path: Path) -> None:
    signed = PassKey.open(tmp_path / "one").sign(ANN)
    assert PassKey.open(tmp_path / "other").read(signed, now=NOW) is None
    mine = PassKey.open(tmp_path / "other").sign(ANN)
    body, _, mark = signed.partition(".")
    assert PassKey.open(tmp_path / "other").read(f"{mine.partition('.')[0]}.{mark}", now=NOW) is None
    assert PassKey.open(tmp_path / "one").read(f"{body}.", now=NOW) is None


def test_a_log_out_reaches_the_gate_and_is_forgotten_when_no_pass_can_be_left(tmp_path: Path) -> None:
    now = [NOW]
    daemon = Revocations(tmp_path, keep_s=600, clock=lambda: now[0])
    gate = Revocations(tmp_path, keep_s=600, clock=lambda: now[0])
    daemon.revoke("abc")
    assert gate.refresh()
    assert gate.is_revoked("abc")
    assert not gate.refresh()
    now[0] += 601
    daemon.revoke("def")
    assert gate.refresh()
    assert not gate.is_revoked("abc")
    assert gate.is_revoked("def")


def test_a_restarted_daemon_still_knows_who_logged_out(tmp_path: Path) -> None:
    Revocations(tmp_path, keep_s=600, clock=lambda: NOW).revoke("abc")
    again = Revocations(tmp_path, keep_s=600, clock=lambda: NOW)
    again.revoke("def")
    gate = Revocations(tmp_path, keep_s=600, clock=lambda: NOW)
    assert gate.is_revoked("abc")
    assert gate.is_revoked("def")


def test_a_list_that_was_spoilt_leaves_the_last_one_in_force(tmp_path: Path) -> None:
    gate = Revocations(tmp_path, keep_s=600, clock=lambda: NOW)
    Revocations(tmp_path, keep_s=600, clock=lambda: NOW).revoke("abc")
    gate.refresh()
    for number, content in enumerate(("{", "[1]", '{"a": "b"}', '"x"', "\xff")):
        path = tmp_path / REVOKED_FILE
        path.write_text(content, encoding="latin-1")
        os.utime(path, (number, number))
        assert not gate.refresh()
        assert gate.is_revoked("abc")


def test_the_pass_is_not_shown_where_it_might_be_logged(tmp_path: Path) -> None:
    key = PassKey.open(tmp_path)
    secret = (tmp_path / KEY_FILE).read_text().strip()
    assert secret not in repr(key)
    assert replace(ANN, user="bo") != ANN
