"""Is every file of a lane what was written? And when not: the sound ones listed anew, the others set aside.

Reads everything and trusts nothing: checksums, then every row, then that the manifest says the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from botd.domain.candle import interval_ms
from botd.domain.candles import Candles
from botd.domain.errors import ConfigError
from botd.market.store.candle_codec import DamageError
from botd.market.store.candle_lane import CHUNK, MANIFEST, Chunk, LaneFolder, Manifest, by_period, describe
from botd.market.store.candle_rows import fault_of, without


@dataclass(frozen=True, slots=True)
class Damage:
    """A file, and what is wrong with it."""

    file: str
    fault: str


def examine(folder: LaneFolder) -> list[Damage]:
    """Return what is wrong in a lane; a write that goes on meanwhile is no damage."""
    while True:
        try:
            manifest = folder.manifest()
        except (DamageError, ConfigError) as error:
            return [Damage(MANIFEST, _short(folder, error.message))]
        if manifest is None:
            return []
        found = _wrong(folder, manifest)
        if not found or folder.manifest() == manifest:
            return found


def repair(folder: LaneFolder) -> list[Path]:
    """List the sound files anew and set the others aside; the lock is held. Returns where those are now."""
    manifest = _trusted(folder)
    latest: dict[str, tuple[int, str]] = {}
    listed = {chunk.file for chunk in manifest.chunks}
    for path in folder.path.iterdir():
        name = CHUNK.fullmatch(path.name)
        if name and (not listed or path.name in listed):
            latest[name[1]] = max(latest.get(name[1], (0, "")), (int(name[2]), path.name))
    sound: list[Chunk] = []
    aside: list[Path] = []
    for period, (_, file) in sorted(latest.items()):
        try:
            sound.append(_described(folder, period, file))
        except DamageError:
            aside.append((folder.path / file).rename(folder.path / f"{file}.damaged"))
    length = interval_ms(manifest.interval)
    lost = [(c.first, c.last + length) for c in manifest.chunks if c.file not in {chunk.file for chunk in sound}]
    generation = max([manifest.generation, *(number for number, _ in latest.values())]) + 1
    asked = without(manifest.asked, lost)
    folder.seal(msgspec.structs.replace(manifest, generation=generation, chunks=sound, asked=asked))
    return aside


def _wrong(folder: LaneFolder, manifest: Manifest) -> list[Damage]:
    found = []
    for chunk in manifest.chunks:
        try:
            if _described(folder, chunk.period, chunk.file) != chunk:
                found.append(Damage(chunk.file, "is not the file that the manifest lists"))
        except (DamageError, ConfigError) as error:
            found.append(Damage(chunk.file, _short(folder, error.message)))
    return found


def _described(folder: LaneFolder, period: str, name: str) -> Chunk:
    data, rows = folder.read(name)
    if fault := fault_of(rows) or _misplaced(rows, period):
        raise DamageError(f"{folder.path / name}: {fault}")
    return describe(name, data, rows)


def _misplaced(rows: Candles, period: str) -> str:
    return "" if list(by_period(rows)) == [period] else f"holds candles that are not of {period}"


def _trusted(folder: LaneFolder) -> Manifest:
    """Return the manifest, or an empty one in place of one that is damaged."""
    try:
        return folder.manifest() or folder.empty
    except DamageError:
        return folder.empty


def _short(folder: LaneFolder, message: str) -> str:
    return message.removeprefix(f"{folder.path}/").partition(": ")[2]
