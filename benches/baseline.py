"""The committed instruction counts (`instructions.json`): what a run's counts are to them, and how they are written anew.

One entry for each profile that is counted: rustc and target that built it, the processor and valgrind that counted, the day, the reason of
the last update, and the count of each row. Knows nothing of how counts come about. Standard library only.
"""

import datetime
import json
from dataclasses import dataclass, field

# What must be the same for two counts to be compared: libraries choose their code by what the processor has.
BUILT_BY = ("rustc", "target", "cpu", "valgrind")
# Growth of a row that needs a reason.
LIMIT = 1.08


class Refused(Exception):
    """An update that is not made."""


@dataclass
class Verdict:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    lines: list = field(default_factory=list)

    def summary(self):
        return f"instructions: {self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def skipped(rows, reason):
    """The verdict where nothing can be counted."""
    return Verdict(skipped=len(rows), lines=[f"NOT COUNTED: {reason}"])


def other_build(entry, here):
    """Why this machine's counts cannot be held against the entry; none where they can."""
    told = [f"{name} {entry.get(name)}, here {here[name]}" for name in BUILT_BY if entry.get(name) != here[name]]
    return f"the baseline is of {' and '.join(told)}" if told else None


def compare(entry, counts, here):
    """Holds the counts of a run against the profile's entry."""
    if entry is None:
        return Verdict(failed=len(counts), lines=[f"there is no baseline of the profile {here['profile']}"])
    if other := other_build(entry, here):
        return skipped(entry["counts"], other)
    verdict = Verdict()
    before = entry["counts"]
    for name in [*before, *(name for name in counts if name not in before)]:
        if name not in counts or name not in before:
            verdict.failed += 1
            verdict.lines.append(f"{name}: {'the baseline has no such row' if name in counts else 'was not counted'}")
            continue
        ratio = counts[name] / before[name]
        line = f"{name}: {counts[name]:,}, {ratio:.3f} of the baseline"
        if ratio > LIMIT:
            verdict.failed += 1
            line += f": grown by more than {LIMIT - 1:.0%}"
        else:
            verdict.passed += 1
            if ratio < 1 / LIMIT:
                line += ": shrunk; a baseline written anew lets no later growth hide in it"
        verdict.lines.append(line)
    return verdict


def updated(entries, counts, here, reason, today=None):
    """All entries with the profile's written anew."""
    reason = " ".join((reason or "").split())
    if not reason:
        raise Refused("an update needs --reason: why the counts changed")
    if reason == entries.get(here["profile"], {}).get("reason"):
        raise Refused("the reason is that of the last update")
    today = today or datetime.date.today()
    return entries | {here["profile"]: {**here, "date": today.isoformat(), "reason": reason, "counts": counts}}


def read(file):
    """The entries by profile."""
    return json.loads(file.read_text())


def write(file, entries):
    file.write_text(json.dumps(entries, indent=2) + "\n")
