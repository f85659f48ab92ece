"""What the committed instruction counts let pass: `python3 -m unittest discover -s benches`."""

import datetime
import unittest
from pathlib import Path

import baseline

FILE = Path(__file__).resolve().parent / "instructions.json"
HERE = {"profile": "demo", "rustc": "1.95.0", "target": "x86_64-unknown-linux-gnu", "cpu": "avx2", "valgrind": "valgrind-3.19.0"}
COUNTS = {"small": 1000, "large": 100_000}
ENTRY = {**HERE, "date": "2026-01-02", "reason": "the first", "counts": COUNTS}


class Compared(unittest.TestCase):
    # what, the baseline's entry, the counts, here, (passed, failed, skipped), a word of what is said
    CASES = [
        ("the same", ENTRY, COUNTS, HERE, (2, 0, 0), "1.000 of the baseline"),
        ("grown within the limit", ENTRY, COUNTS | {"small": 1080}, HERE, (2, 0, 0), "small: 1,080, 1.080 of"),
        ("grown", ENTRY, COUNTS | {"small": 1081}, HERE, (1, 1, 0), "grown by more than 8%"),
        ("both grown", ENTRY, {"small": 2000, "large": 200_000}, HERE, (0, 2, 0), "large: 200,000, 2.000 of"),
        ("shrunk", ENTRY, COUNTS | {"large": 90_000}, HERE, (2, 0, 0), "shrunk"),
        ("one shrunk, one grown", ENTRY, {"small": 1100, "large": 50_000}, HERE, (1, 1, 0), "shrunk"),
        ("other rustc", ENTRY, COUNTS | {"small": 9000}, HERE | {"rustc": "1.96.0"}, (0, 0, 2), "rustc 1.95.0, here 1.96.0"),
        ("other target", ENTRY, COUNTS, HERE | {"target": "aarch64-apple-darwin"}, (0, 0, 2), "NOT COUNTED"),
        ("other valgrind", ENTRY, COUNTS | {"small": 2000}, HERE | {"valgrind": "valgrind-3.22.0"}, (0, 0, 2), "3.22.0"),
        ("other processor", ENTRY, COUNTS | {"small": 2000}, HERE | {"cpu": ""}, (0, 0, 2), "cpu avx2, here "),
        ("a row was not counted", ENTRY, {"small": 1000}, HERE, (1, 1, 0), "large: was not counted"),
        ("a row has no baseline", ENTRY, COUNTS | {"new": 1}, HERE, (2, 1, 0), "new: the baseline has no such row"),
        ("nothing was counted", ENTRY, {}, HERE, (0, 2, 0), "was not counted"),
        ("a profile without baseline", None, COUNTS, HERE, (0, 2, 0), "no baseline of the profile demo"),
    ]

    def test_what_is_compared(self):
        for what, entry, counts, here, wanted, word in self.CASES:
            with self.subTest(what):
                verdict = baseline.compare(entry, counts, here)
                self.assertEqual((verdict.passed, verdict.failed, verdict.skipped), wanted)
                self.assertIn(word, "\n".join(verdict.lines))

    def test_a_skipped_run_counts_its_rows(self):
        self.assertEqual(baseline.skipped(COUNTS, "no valgrind").summary(), "instructions: 0 passed, 0 failed, 2 skipped")


class Updated(unittest.TestCase):
    def test_an_update_without_a_reason_of_its_own_is_refused(self):
        for reason in (None, "", "  \n", "the first", " the  first "):
            with self.subTest(reason), self.assertRaises(baseline.Refused):
                baseline.updated({"demo": ENTRY}, COUNTS, HERE, reason)

    def test_an_update_writes_its_profile_alone(self):
        other = ENTRY | {"profile": "release"}
        day = datetime.date(2026, 11, 29)
        got = baseline.updated({"demo": ENTRY, "release": other}, {"small": 7}, HERE, "a table\nfor the paths", day)
        self.assertEqual(got["release"], other)
        self.assertEqual(
            got["demo"], {**HERE, "date": "2026-11-29", "reason": "a table for the paths", "counts": {"small": 7}}
        )
        self.assertEqual(ENTRY["counts"], COUNTS)


class Committed(unittest.TestCase):
    def test_every_entry_says_what_it_is_of_and_why(self):
        for name, entry in baseline.read(FILE).items():
            with self.subTest(name):
                self.assertEqual(entry["profile"], name)
                for word in ("rustc", "target", "cpu", "valgrind", "reason"):
                    self.assertTrue(entry[word].strip(), word)
                datetime.date.fromisoformat(entry["date"])
                self.assertTrue(entry["counts"])
                self.assertTrue(all(isinstance(count, int) and count > 0 for count in entry["counts"].values()))


if __name__ == "__main__":
    unittest.main()
