"""A process in the place of the one that holds apprise: it does what the body of a message says.

Its argument, if there is one, is a file: until that exists it is still starting.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

while len(sys.argv) > 1 and not Path(sys.argv[1]).exists():
    time.sleep(0.01)
print(json.dumps({"id": 0, "accepted": True}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    said: list[str] = []
    match request["body"]:
        case "hang":
            continue
        case "die":
            os._exit(1)
        case "babble":
            print("no JSON", flush=True)
            continue
        case "endless":
            sys.stdout.write("x" * 1_000_000)
            sys.stdout.flush()
            time.sleep(60)
        case "child":
            said = [str(subprocess.Popen(["sleep", "600"]).pid)]
        case "show":
            said = [
                " ".join(f"{key}={value}" for key, value in sorted(os.environ.items())),
                str(Path.cwd()),
            ]
            said += [" ".join(sys.argv), str(os.getsid(0) == os.getpid())]
        case "quote":
            said = [f"could not reach {request['url']}", "x" * 1000]
    accepted = request["body"] not in ("refuse", "quote")
    print(json.dumps({"id": request["id"], "accepted": accepted, "said": said}), flush=True)
