"""The start-up file: what is wrong is named, what is unknown is refused, secrets are not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from cti import settings
from cti.errors import SettingsError

ROOT = Path(__file__).parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "callfloor.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_sample_file_is_valid() -> None:
    loaded = settings.load(ROOT / "config" / "callfloor.toml", {"CALLFLOOR_PBX__0__SECRET": "from the environment"})
    assert loaded.web.host == "127.0.0.1"


def test_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"web\.prot: is not a known key"):
        settings.load(written(tmp_path, "[web]\nprot = 1\n"), {})


def test_a_wrong_value_names_its_key_and_does_not_show_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"web\.port") as caught:
        settings.load(written(tmp_path, '[web]\nport = "s3cret"\n'), {})
    assert "s3cret" not in str(caught.value)


def test_a_variable_goes_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, '[web]\nport = 1\n[[pbx]]\nid = "pbx1"\nsecret = "x"\n')
    loaded = settings.load(path, {"CALLFLOOR_WEB__PORT": "2", "CALLFLOOR_PBX__0__SECRET": "y", "HOME": "/"})
    assert loaded.web.port == 2
    assert loaded.pbx[0].secret.get_secret_value() == "y"


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="wbe"):
        settings.load(None, {"CALLFLOOR_WBE__PORT": "2"})


def test_a_secret_is_not_in_the_printed_settings(tmp_path: Path) -> None:
    path = written(tmp_path, '[[pbx]]\nid = "pbx1"\nsecret = "hunter2"\n')
    assert "hunter2" not in repr(settings.load(path, {}))


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        ('host = "10.0.0.5"', r"pbx\.0\.tls: is needed"),
        ('host = "10.0.0.5"\ntls = true', ""),
        ('host = "10.0.0.5"\nplain_text_allowed = true', ""),
        ('tls_ca_file = "ca.crt"', r"pbx\.0\.tls_ca_file"),
        ('ari_url = "http://10.0.0.5:8088/ari"', r"pbx\.0\.ari_url: wants https"),
        ('ari_url = "http://127.0.0.1:8088/ari"', ""),
    ],
)
def test_no_secret_crosses_the_network_as_plain_text(tmp_path: Path, lines: str, refused: str) -> None:
    path = written(tmp_path, f'[[pbx]]\nid = "pbx1"\nsecret = "x"\n{lines}\n')
    if not refused:
        settings.load(path, {})
        return
    with pytest.raises(SettingsError, match=refused):
        settings.load(path, {})
