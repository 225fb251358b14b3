"""`python -m parity FOLDER`: exit 0 when nothing failed, 1 when a file did, 2 when there is nothing to check."""

from __future__ import annotations

import sys
from pathlib import Path

from parity import files, report
from parity.run import check_folder


def main(arguments: list[str]) -> int:
    """Prints a line per file as soon as it is checked; the exit code."""
    if len(arguments) != 1:
        print("usage: python -m parity FOLDER   (a folder of parity files, NAME.json with NAME.npz)", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    found = files.names(folder) if folder.is_dir() else []
    if not found:
        what = "holds no parity files" if folder.is_dir() else "is no folder"
        print(f"error: {folder} {what}: name one with NAME.json and NAME.npz, DIR=../shared/parity", file=sys.stderr)
        return 2
    width = max(map(len, found))
    print(f"{'file':{width}}  {'worst':8}  {'':7}  (error over the file's tolerance: 1 is the limit)")
    results = []
    for result in check_folder(folder):
        results.append(result)
        print(*report.lines(result, width), sep="\n", flush=True)
    print(report.summary(results))
    return 0 if report.passed(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
