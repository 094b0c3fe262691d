"""What test_languages.py asks of every language, in Python."""

import os
import sys
import time

if os.environ.get("AT_INIT") == "raise":
    raise ValueError("at init")
if os.environ.get("AT_INIT") == "exit":
    os._exit(3)


class Broken(Exception):
    pass


def told(context):
    client = context.client_context
    return {
        "request_id": context.aws_request_id,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory_mb": context.memory_limit_in_mb,
        "log_group": context.log_group_name,
        "log_stream": context.log_stream_name,
        "left_ms": context.get_remaining_time_in_millis(),
        "custom": client and client.custom,
        "client_env": client and client.env,
        "title": client and client.client and client.client.app_title,
    }


def handler(event, context):
    do = event["do"]
    if do == "echo":
        return event
    if do == "context":
        return told(context)
    if do == "environment":
        return {name: os.environ.get(name) for name in event["names"]}
    if do == "log":
        print(f"to stdout: {event['text']}")
        print(f"to stderr: {event['text']}", file=sys.stderr)
        return None
    if do == "large":
        return "x" * event["size"]
    if do == "raise":
        raise Broken(event["message"])
    if do == "cause":
        try:
            raise ValueError("inner")
        except ValueError as inner:
            raise Broken("outer") from inner
    if do == "exit":
        os._exit(3)
    if do == "sleep":
        time.sleep(60)
    if do == "memory":
        return len(bytearray(b"x") * (2 << 30))
