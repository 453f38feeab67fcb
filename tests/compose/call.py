"""One HTTP request, asked for as JSON on standard input, answered as JSON on standard output.

A program of its own, for it runs in the engine's network; nothing but the standard library.
"""

import json
import sys
import urllib.error
import urllib.request


def main() -> None:
    """Ask, and say what came back; an HTTP error is an answer too, no connection is status 0."""
    asked = json.load(sys.stdin)
    body = None if asked["body"] is None else json.dumps(asked["body"]).encode()
    headers = {"content-type": "application/json"} | asked["headers"]
    request = urllib.request.Request(
        asked["url"], data=body, headers=headers, method=asked["method"]
    )
    try:
        with urllib.request.urlopen(request, timeout=50) as answer:
            status, found, text = answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        status, found, text = error.code, dict(error.headers), error.read().decode()
    except OSError as error:
        status, found, text = 0, {}, str(error)
    named = {str(name).lower(): value for name, value in found.items()}
    json.dump({"status": status, "headers": named, "body": text}, sys.stdout)


if __name__ == "__main__":
    main()
