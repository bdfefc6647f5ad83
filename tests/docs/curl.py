"""The few options of curl that the documents use, so that no curl need be installed."""

from __future__ import annotations

import argparse
import sys

import httpx


def main() -> int:
    """Print the answer's body; 22 for an error with `--fail`, as curl does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--json")
    parser.add_argument("-X", "--request")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-f", "--fail", action="store_true")
    given = parser.parse_args()
    method = given.request or ("POST" if given.json else "GET")
    headers = {"content-type": "application/json"} if given.json else {}
    url = given.url if "://" in given.url else f"http://{given.url}"
    answer = httpx.request(method, url, content=given.json, headers=headers, timeout=10)
    sys.stdout.write(answer.text + "\n")
    return 22 if given.fail and answer.is_error else 0


if __name__ == "__main__":
    sys.exit(main())
