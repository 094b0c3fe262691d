"""What AWS's Python runtimes do to ``logging``: a handler on the root logger that writes lines, or JSON, with the request id.

``hearth_bootstrap`` imports this when a function has imported ``logging``, and not before: AWS Lambda developer guide, "Using
the logging library".
"""

import logging
import os
import sys
import time


def set_up(invocation, in_json):
    """Gives the root logger AWS's handler and format; ``invocation.request_id`` is of the one that runs."""
    logging.Formatter.converter = time.gmtime
    line = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
    formatter = JsonFormatter() if in_json else logging.Formatter(line, "%Y-%m-%dT%H:%M:%S")
    handler = StdoutHandler()
    handler.setFormatter(formatter)
    handler.addFilter(RequestIdFilter(invocation))
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper().replace("TRACE", "DEBUG").replace("FATAL", "CRITICAL")
    if isinstance(logging.getLevelName(level), int):
        root.setLevel(level)


class RequestIdFilter(logging.Filter):
    """Adds ``aws_request_id`` to each record."""

    def __init__(self, invocation):
        super().__init__()
        self._invocation = invocation

    def filter(self, record):
        record.aws_request_id = self._invocation.request_id
        return True


class StdoutHandler(logging.Handler):
    """Writes to whatever ``sys.stdout`` is at the time."""

    def emit(self, record):
        sys.stdout.write(self.format(record) + "\n")


class JsonFormatter(logging.Formatter):
    """One JSON document a line, for ``AWS_LAMBDA_LOG_FORMAT=JSON``."""

    _STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id"}

    def format(self, record):
        document = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname,
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            error_type, error, tb = record.exc_info
            import traceback

            document["stackTrace"] = traceback.format_tb(tb)
            document["errorType"] = getattr(error_type, "__name__", None)
            document["errorMessage"] = str(error)
            document["location"] = "{}:{}:{}".format(record.pathname, record.funcName, record.lineno)
        document["requestId"] = record.aws_request_id
        for name, value in vars(record).items():
            if name not in self._STANDARD and name not in document:
                document[name] = value
        import json

        return json.dumps({k: v for k, v in document.items() if v is not None}, ensure_ascii=False, default=str)
