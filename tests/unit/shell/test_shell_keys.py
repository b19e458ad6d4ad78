"""API keys: where they may come from, and that nothing shows them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from botd.domain.errors import ConfigError
from botd.keys import Secret, find_keys

PAIR = "# mine\nBINANCE_API_KEY=file-key\nexport BINANCE_API_SECRET='file-secret'\n"
ENVIRONMENT = {"BINANCE_API_KEY": "env-key", "BINANCE_API_SECRET": "env-secret"}


def write(path: Path, text: str = PAIR, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        find_keys(path, {})
    return caught.value.message


def test_a_credential_wins_over_the_file_and_the_file_over_the_environment(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    write(credentials / "botd.keys", "API_KEY=cred-key\nAPI_SECRET=cred-secret\n", 0o440)
    file = write(tmp_path / "keys")
    environ = {**ENVIRONMENT, "CREDENTIALS_DIRECTORY": str(credentials)}
    sources = []
    for keys_file, variables in ((file, environ), (file, dict(ENVIRONMENT)), (None, dict(ENVIRONMENT)), (None, {})):
        keys, _ = find_keys(keys_file, variables)
        sources.append(keys and (keys.source, keys.api_key.reveal(), keys.api_secret.reveal()))
        assert "BINANCE_API_KEY" not in variables and "BINANCE_API_SECRET" not in variables
    assert sources == [
        ("credential", "cred-key", "cred-secret"),
        ("file", "file-key", "file-secret"),
        ("environment", "env-key", "env-secret"),
        None,
    ]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    assert refusal(write(tmp_path / "keys", mode=mode)).endswith(f"mode {mode:04o} lets others in")


def test_a_link_a_directory_and_a_fifo_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "keys")
    (tmp_path / "link").symlink_to(tmp_path / "keys")
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert "symbolic link" in refusal(tmp_path / "link")
    assert "not a regular file" in refusal(tmp_path / "fifo")
    assert "not a regular file" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's file")
def test_another_users_file_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "keys")
    os.chown(file, 12345, 12345)
    assert "belongs to uid 12345" in refusal(file)


def test_a_file_without_a_pair_is_refused_without_showing_it(tmp_path: Path) -> None:
    message = refusal(write(tmp_path / "keys", "BINANCE_API_KEY=canary123\n"))
    assert "holds no key pair" in message and "canary123" not in message
    assert "No such file" in refusal(tmp_path / "none")


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("canary123")
    shown = f"{secret} {secret!r} {secret!s} {secret:>20} {[secret]} {{'a': {secret}}}"
    assert "canary123" not in shown and "***" in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret == Secret("canary123") and secret != Secret("other")


PEM = "-----BEGIN PRIVATE KEY-----\n" + "A" * 63 + "=\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize("second", [PEM, f'BINANCE_API_SECRET="{PEM}"'])
def test_a_private_key_stands_in_the_file_as_it_is(tmp_path: Path, second: str) -> None:
    keys, _ = find_keys(write(tmp_path / "keys", f"BINANCE_API_KEY=abc\n{second}\n"), {})
    assert keys is not None
    assert (keys.api_key.reveal(), keys.api_secret.reveal()) == ("abc", PEM)
