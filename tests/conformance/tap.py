"""What one program said in the Test Anything Protocol (testanything.org, version 13)."""

import re
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "fail", "silent", "timeout"]

_ASSERTION = re.compile(r"(not )?ok\b *\d*(.*)")
_PLAN = re.compile(r"1\.\.(\d+)\b")
_SKIPPED = re.compile(r"# *skip", re.IGNORECASE)
_COMPLAINT = re.compile(r"\s+[\"']?error[\"']?:\s*(.*)")


@dataclass(frozen=True)
class Result:
    """How a program ended, and why that is no pass."""

    verdict: Verdict
    good: int = 0
    bad: int = 0
    skipped: int = 0
    why: str = ""

    def __str__(self) -> str:
        """Return it as a cell of the table."""
        if self.verdict == "fail" and self.bad:
            return f"fail {self.bad}/{self.good + self.bad}"
        return self.verdict


def judge(output: str, errors: str, status: int | None) -> Result:
    """Judge a program by what it printed and its exit status; None if it had to be ended.

    A program may print several documents in a row, and the plan after the assertions. One that
    asserts nothing is ``silent`` at best: nobody can tell whether it has looked at anything.
    """
    good, bad, skipped, planned = 0, [], 0, 0
    complaint = ""
    for line in output.splitlines():
        if plan := _PLAN.match(line):
            planned += int(plan[1])
        elif assertion := _ASSERTION.match(line):
            text = assertion[2]
            if _SKIPPED.search(text):
                skipped += 1
            elif assertion[1]:
                bad.append(text.strip(" -"))
            else:
                good += 1
        elif said := _COMPLAINT.match(line):
            complaint = said[1].strip("\"'")
    counts = (good, len(bad), skipped)
    last_words = errors.strip().splitlines()[-1:] or [""]
    if status is None:
        return Result("timeout", *counts, "; ".join(bad) or last_words[0])
    if bad:
        return Result("fail", *counts, "; ".join(dict.fromkeys(bad)))
    if status:
        return Result("fail", *counts, f"exit status {status}: {last_words[0]}")
    if planned != good + skipped:
        return Result("fail", *counts, f"{planned} assertions planned, {good + skipped} made")
    if not good:
        # The assertions of such a program are its complaints.
        return Result("fail" if complaint else "silent", *counts, complaint)
    return Result("pass", *counts)
