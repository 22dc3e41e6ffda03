"""A Lambda environment in miniature: the handler of some folders, called once and over, or warm and on demand.

`environment.py once EVENT FOLDER...` imports the handler and calls it with the event of a file. `environment.py warm
FOLDER...` answers each file of events named on standard input with the CPU seconds that the calls took; as Lambda's
own runtime does, it reads each event from JSON and writes each answer as JSON, and both are counted.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# A context without importing more than the runtime does.
CONTEXT = type("Context", (), {
    "aws_request_id": "8f2b7a52-1f0e-4b8c-9d51-2f6f0f2f9a51", "function_name": "bench", "function_version": "$LATEST",
    "memory_limit_in_mb": 512, "invoked_function_arn": "arn:aws:lambda:ap-northeast-1:123456789012:function:bench",
    "log_group_name": "bench", "log_stream_name": "bench",
})()


def once(handle: Any, path: str) -> None:
    with open(path) as file:
        answer = handle(json.load(file), CONTEXT)
    if answer["statusCode"] != 200:
        sys.exit(f"answered {answer}")


def warm(handle: Any, answers_go_to: Any) -> None:
    import time

    for line in sys.stdin:
        with open(line.strip()) as file:
            texts = file.readlines()
        answers = []
        begin = time.process_time()
        for text in texts:
            answers.append(json.dumps(handle(json.loads(text), CONTEXT)))
        spent = time.process_time() - begin
        if not all('"statusCode": 200' in answer for answer in answers):
            sys.exit(f"answered {answers[0]}")
        print(spent, file=answers_go_to, flush=True)


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    event = rest.pop(0) if mode == "once" else ""
    sys.path[:0] = rest
    if event:
        import handler  # type: ignore[import-not-found]

        once(handler.handle, event)
    else:
        # What a handler logs is written on Lambda too, but is no answer to us; loggers keep the stream they find.
        said = sys.stdout
        with open("/dev/null", "w") as sys.stdout:
            import handler

            warm(handler.handle, said)
