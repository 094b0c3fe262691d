"""Runs Python functions on Hearth: loads the handler, then serves one invocation after the other.

Started in one of two ways:

* before any function is known (``HEARTH_INIT_FD`` names a socket): what most functions need is imported, ``ready`` is
  written to the socket, and the rest waits for the one JSON document that the shim sends, and then closes with:
  ``{"environment": {...}, "handler": "module.function", "taskRoot": "/var/task", "cloned": false}``;
  ``AWS_LAMBDA_RUNTIME_API`` is the same before and after; ``cloned`` says that other processes may have been restored
  from the same snapshot as this one, so that its random numbers have to begin anew; if a function already waits for
  the sandbox (``HEARTH_WANTED``), nothing is warmed up and nothing written;
* for a known function (no ``HEARTH_INIT_FD``): handler and task root are in the environment.

If the function's versions start from a snapshot (``AWS_LAMBDA_INITIALIZATION_TYPE`` is ``snap-start``), the hooks that it
registered with ``snapshot_restore_py`` run before and after: AWS Lambda developer guide, "Lambda SnapStart runtime hooks".

What functions see (handler lookup, context, error documents, log lines) is what AWS Lambda's managed Python runtimes
show them: AWS Lambda developer guide, "Building Lambda functions with Python".

Invariants: standard library only, Python 3.9 or later; one connection to the Runtime API, one request at a time on it;
standard output and error are flushed before the answer to an invocation is posted; nothing is imported that a function
which imports nothing does without (``json``, ``logging`` and ``traceback`` cost 12 ms and 3 MB), and yet those are the
standard library's whatever the function calls its own modules (``StandardFirst``).
"""

import _json  # What ``json`` is made of; that one takes 4 ms to import, and 1 MB.
import _socket  # What ``socket`` is made of; that one takes 2 ms.
import gc
import importlib
import io
import os
import sys
import time
from _frozen_importlib_external import PathFinder

API = "/2018-06-01/runtime"
NEXT = API + "/invocation/next"
ACCEPTED = 202
TOO_LARGE = 413
READ_CHUNK_BYTES = 64 * 1024
HEAD_MAX_BYTES = 1024 * 1024
INIT_FAILED, BEFORE_SNAPSHOT_FAILED, AFTER_RESTORE_FAILED = 1, 64, 65
NO_BREAK_SPACE = "\u00a0"


class Fault(Exception):
    """A failure that this runtime names itself, with a fixed error type."""

    def __init__(self, error_type, message, trace=None):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = trace or []


# --- The Runtime API ------------------------------------------------------------------------------------------------


class RuntimeApi:
    """A client of the Runtime API over one kept connection."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._host_line = "Host: {}\r\n".format(address)
        self._connection = None
        self._unread = b""

    def next(self):
        """Waits for the next invocation: (headers by lower-case name, body)."""
        return self._invocation(self._request("GET", NEXT, {}, b""))

    def respond_and_next(self, request_id, answer, content_type):
        """Posts the handler's answer and waits for the next invocation.

        Both are asked for in one piece, so that between two invocations this process is woken once and not twice.
        """
        path = "{}/invocation/{}/response".format(API, request_id)
        self._connect()
        try:
            self._connection.sendall(
                self._message("POST", path, {"Content-Type": content_type}, answer) + self._message("GET", NEXT, {}, b"")
            )
            self._expect(path, (ACCEPTED, TOO_LARGE), self._read_answer())
            return self._invocation(self._read_answer())
        except OSError:
            self._disconnect()
            raise

    def restore_next(self):
        """Waits for the restore: the variables that have another value since."""
        status, _, body = self._request("GET", API + "/restore/next", {}, b"")
        if status != 200:
            raise Fault("Runtime.ClientError", "no restore: {} {!r}".format(status, body))
        return from_json(body or b"{}").get("environment", {})

    def ping(self):
        """One round trip for nothing: connects, and makes the next one cheaper."""
        self._request("GET", "/2018-06-01/ping", {}, b"")

    def fail(self, request_id, error):
        """Posts the error document of an invocation."""
        self._post_error("{}/invocation/{}/error".format(API, request_id), error)

    def fail_init(self, error):
        """Posts the error document of an init that failed."""
        self._post_error(API + "/init/error", error)

    def fail_before_snapshot(self, error):
        """Posts the error document of a before-snapshot hook, which is the init's."""
        self._post_error(API + "/init/error", error, "Runtime.BeforeSnapshotError")

    def fail_restore(self, error):
        """Posts the error document of an after-restore hook."""
        self._post_error(API + "/restore/error", error, "Runtime.AfterRestoreError")

    def _post_error(self, path, error, error_type=None):
        error_type = error_type or "".join(c if " " < c < "\x7f" else "?" for c in error["errorType"])
        headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": error_type}
        self._post(path, to_json(error).encode("utf-8", "surrogatepass"), headers, (ACCEPTED, TOO_LARGE))

    def _post(self, path, body, headers, accepted):
        self._expect(path, accepted, self._request("POST", path, headers, body))

    @staticmethod
    def _invocation(answered):
        status, headers, body = answered
        if status != 200:
            raise Fault("Runtime.ClientError", "no next invocation: {} {!r}".format(status, body))
        return headers, body

    @staticmethod
    def _expect(path, accepted, answered):
        status, _, answer = answered
        if status not in accepted:
            raise Fault("Runtime.ClientError", "{} was refused: {} {!r}".format(path, status, answer))

    def _request(self, method, path, headers, body):
        self._connect()
        try:
            self._connection.sendall(self._message(method, path, headers, body))
            return self._read_answer()
        except OSError:
            self._disconnect()
            raise

    def _message(self, method, path, headers, body):
        head = ["{} {} HTTP/1.1\r\n".format(method, path), self._host_line]
        head += ["{}: {}\r\n".format(name, value) for name, value in headers.items()]
        if method == "POST":
            head.append("Content-Length: {}\r\n".format(len(body)))
        return "".join(head).encode("latin-1") + b"\r\n" + body

    def _disconnect(self):
        # The connection is in no known state, so whoever asks next gets a new one.
        self._connection.close()
        self._connection = None

    def _connect(self):
        if self._connection is None:
            connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            connection.connect(self._address)
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._connection = connection
            self._unread = b""

    def _read_answer(self):
        received = self._unread
        while (end := received.find(b"\r\n\r\n")) < 0:
            if len(received) > HEAD_MAX_BYTES:
                raise ConnectionError("the head of an answer is too large")
            received += self._receive()
        status_line, *lines = received[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        start, length = end + 4, int(headers.get("content-length", 0))
        parts, missing = [received[start : start + length]], length - (len(received) - start)
        self._unread = received[start + length :]
        while missing > 0:
            parts.append(self._receive(min(missing, READ_CHUNK_BYTES)))
            missing -= len(parts[-1])
        return int(status_line.split(" ", 2)[1]), headers, b"".join(parts)

    def _receive(self, most=READ_CHUNK_BYTES):
        data = self._connection.recv(most)
        if not data:
            raise ConnectionError("the Runtime API closed the connection")
        return data


# --- JSON -----------------------------------------------------------------------------------------------------------

# JSON's encoder can't be told to emit a number as written, so decimals go out as marked strings whose marks are cut off.
_DECIMAL_MARK = "hearth-decimal-" + os.urandom(16).hex() + ":"
# From Python 3.12 on, AWS's encoder makes no ASCII escapes.
_ENCODE_TEXT = _json.encode_basestring_ascii if sys.version_info < (3, 12) else _json.encode_basestring


class _Strict:
    """How ``json`` configures its scanner by default."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__


_scan = _json.make_scanner(_Strict)


def from_json(document):
    """What JSON text or bytes stand for. Raises ValueError as ``json.loads`` does, which decides what is unusual."""
    try:
        text = (document if isinstance(document, str) else document.decode("utf-8")).strip(" \t\n\r")
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError):
        pass
    import json

    return json.loads(document)


def to_json(value):
    """``value`` as JSON text, by AWS's rules: decimals are numbers."""
    saw_decimal = False

    def default(other):
        nonlocal saw_decimal
        decimal = sys.modules.get("decimal")
        if decimal is not None and isinstance(other, decimal.Decimal):
            saw_decimal = True
            return _DECIMAL_MARK + ("NaN" if other.is_nan() else str(other))
        raise TypeError("Object of type {} is not JSON serializable".format(type(other).__name__))

    encode = _json.make_encoder({}, default, _ENCODE_TEXT, None, ": ", ", ", False, False, True)
    text = "".join(encode(value, 0))
    if not saw_decimal:
        return text
    import re

    return re.sub('"' + _DECIMAL_MARK + '([^"]*)"', r"\1", text)


# --- The context object ---------------------------------------------------------------------------------------------


class _Record:
    """Named attributes, each None unless given."""

    __slots__ = ()

    def __init__(self, values):
        for name in self.__slots__:
            setattr(self, name, values.get(name))

    def __repr__(self):
        fields = ",".join("{}={}".format(name, getattr(self, name)) for name in self.__slots__)
        return "{}([{}])".format(type(self).__name__, fields)


class Client(_Record):
    """The mobile client that called."""

    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(_Record):
    """What the caller passed as client context."""

    __slots__ = ("custom", "env", "client")


class CognitoIdentity(_Record):
    """The Amazon Cognito identity that called."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class LambdaContext:
    """The handler's second argument."""

    def __init__(self, headers):
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        self.identity = _identity(headers)
        self.client_context = _client_context(headers)
        self._deadline_ms = int(headers["lambda-runtime-deadline-ms"])

    def get_remaining_time_in_millis(self):
        """Milliseconds left before the invocation times out."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message):
        """Writes ``message`` to the log as it is."""
        sys.stdout.write(str(message))

    def __repr__(self):
        shown = ",".join("{}={}".format(k, v) for k, v in vars(self).items() if not k.startswith("_"))
        return "LambdaContext([{}])".format(shown)


def _identity(headers):
    given = _json_header(headers, "lambda-runtime-cognito-identity", "Cognito Identity") or {}
    return CognitoIdentity(
        {
            "cognito_identity_id": given.get("cognitoIdentityId"),
            "cognito_identity_pool_id": given.get("cognitoIdentityPoolId"),
        }
    )


def _client_context(headers):
    given = _json_header(headers, "lambda-runtime-client-context", "Client Context")
    if given is None:
        return None
    context = ClientContext(given)
    if context.client is not None:
        context.client = Client(context.client)
    return context


def _json_header(headers, name, title):
    value = headers.get(name)
    if not value:
        return None
    try:
        parsed = from_json(value)
        return parsed if isinstance(parsed, dict) else {}
    except ValueError as error:
        raise Fault("Runtime.LambdaContextUnmarshalError", "Unable to parse {} JSON: {}".format(title, error)) from None


# --- Logging, when the function imports it -----------------------------------------------------------------------------


class Invocation:
    """The one that runs."""

    request_id = ""


def logs_json():
    """Whether the function asked for logs in JSON."""
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


class StandardFirst:
    """Finds the modules that this runtime, or AWS's, may import at any time in the standard library, whatever lies in
    the function's directory under their names; and gives ``logging`` its handler as soon as somebody imports it.
    """

    NAMES = frozenset(
        "_colorize _weakrefset ast codeop collections contextlib copyreg enum functools hearth_logging importlib json"
        " keyword linecache logging operator re reprlib selectors socket sre_compile sre_constants sre_parse string"
        " textwrap threading token tokenize traceback types warnings weakref".split()
    )

    def __init__(self):
        self._path = [entry for entry in sys.path if entry != _here()] + [_here()]

    def find_spec(self, name, path=None, target=None):
        """As the import system asks; packages' own modules are found through their packages."""
        if name not in self.NAMES:
            return None
        spec = PathFinder.find_spec(name, self._path, target)
        if name == "logging" and spec is not None:
            spec.loader = _ThenSetUp(spec.loader)
        return spec


class _ThenSetUp:
    """Loads ``logging`` by its own loader, then sets it up."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        import hearth_logging

        hearth_logging.set_up(Invocation, logs_json())


def log_error(error):
    """Writes an error document to the log the way AWS's runtime does."""
    if logs_json():
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        _write(to_json({"timestamp": stamp, "level": "ERROR", **error}) + "\n")
        return
    lines = ["[ERROR] " + ": ".join(part for part in (error["errorType"], error["errorMessage"]) if part)]
    lines.append("Traceback (most recent call last):")
    for entry in error["stackTrace"]:
        for line in entry.splitlines() or [""]:
            text = line.lstrip(" ")
            lines.append(NO_BREAK_SPACE * (len(line) - len(text)) + text)
    _write("\n".join(lines) + "\n")


def _write(text):
    try:
        sys.stdout.write(text)
    except Exception:  # Functions may put anything there, or close it.
        os.write(1, text.encode("utf-8", "backslashreplace"))


def open_output(fd):
    """A text stream on ``fd`` that passes each whole line on at once."""
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


# --- Errors ---------------------------------------------------------------------------------------------------------


def error_document(error, request_id=""):
    """The error document for an exception: errorMessage, errorType, requestId, stackTrace."""
    if isinstance(error, Fault):
        return _document(error.message, error.error_type, request_id, error.trace)
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    while frames and frames[0].filename == __file__:
        frames = frames[1:]
    return _document(str(error), type(error).__name__, request_id, traceback.format_list(frames))


def _document(message, error_type, request_id, trace):
    return {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": trace}


# --- The function ---------------------------------------------------------------------------------------------------


def load_handler(handler):
    """The function that ``module.name`` (dots or slashes between packages) stands for."""
    module_name, dot, name = handler.rpartition(".")
    if not dot:
        message = "Bad handler '{}': not enough values to unpack (expected 2, got 1)".format(handler)
        raise Fault("Runtime.MalformedHandlerName", message)
    module = _import_module(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        message = "Handler '{}' missing on module '{}'".format(name, module_name)
        raise Fault("Runtime.HandlerNotFound", message) from None


def _import_module(name):
    if name.split(".")[0] in sys.builtin_module_names:
        message = "Cannot use built-in module {} as a handler module".format(name)
        raise Fault("Runtime.BuiltInModuleConflict", message)
    try:
        return importlib.import_module(name.replace("/", "."))
    except ImportError as error:
        message = "Unable to import module '{}': {}".format(name, error)
        raise Fault("Runtime.ImportModuleError", message) from None
    except SyntaxError as error:
        trace = ['  File "{}" Line {}\n    {}'.format(error.filename, error.lineno, error.text)]
        message = "Syntax error in module '{}': {}".format(name, error)
        raise Fault("Runtime.UserCodeSyntaxError", message, trace) from None


def call(handler, headers, body):
    """One invocation's answer: (bytes, content type)."""
    context = LambdaContext(headers)
    try:
        event = from_json(body) if headers.get("content-type") == "application/json" else body
    except ValueError as error:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: {}".format(error)) from None
    answer = handler(event, context)
    if isinstance(answer, bytes):
        return answer, "application/unknown"
    try:
        return to_json(answer).encode("utf-8"), "application/json"
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: {}".format(error)) from None


def serve(api, handler):
    """Serves invocations for ever. What is no Exception (SystemExit, say) ends the process, as on AWS."""
    headers, body = api.next()
    while True:
        request_id = Invocation.request_id = headers["lambda-runtime-aws-request-id"]
        _set_trace_id(headers.get("lambda-runtime-trace-id"))
        try:
            answer, content_type = call(handler, headers, body)
        except Exception as error:
            document = error_document(error, request_id)
            log_error(document)
            _flush()
            api.fail(request_id, document)
            headers, body = api.next()
        else:
            _flush()
            headers, body = api.respond_and_next(request_id, answer, content_type)


def _set_trace_id(trace_id):
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # Functions may put anything there, or close it.


# --- Snapshots ------------------------------------------------------------------------------------------------------


def begin_anew():
    """Gives this process random numbers of its own. ``secrets``, ``uuid4`` and all that ask the kernel have them already."""
    if "random" in sys.modules:
        sys.modules["random"].seed()
    if "_ssl" in sys.modules:
        # OpenSSL's generators begin anew from the system's and this.
        sys.modules["_ssl"].RAND_add(os.urandom(32), 32.0)


def await_restore(api):
    """Runs the before-snapshot hooks, waits for the restore, runs the after-restore hooks. Ends the process if one fails."""
    hooks = sys.modules.get("snapshot_restore_py")
    try:
        before = hooks.get_before_snapshot() if hooks else []
        while before:
            function, args, kwargs = before.pop()
            function(*args, **kwargs)
        gc.collect()
        _flush()
        changed = api.restore_next()
    except Exception as error:
        _end(error, api.fail_before_snapshot, BEFORE_SNAPSHOT_FAILED)
    begin_anew()
    os.environ.update(changed)
    try:
        for function, args, kwargs in hooks.get_after_restore() if hooks else []:
            function(*args, **kwargs)
    except Exception as error:
        _end(error, api.fail_restore, AFTER_RESTORE_FAILED)


def _end(error, report, status):
    document = error_document(error)
    log_error(document)
    _flush()
    report(document)
    sys.exit(status)


# --- Starting -------------------------------------------------------------------------------------------------------


def wait_for_function(api):
    """Waits for the shim's document, if started before any function was known, and takes its environment over."""
    fd = os.environ.pop("HEARTH_INIT_FD", None)
    if fd is None:
        return
    fd, wanted = int(fd), "HEARTH_WANTED" in os.environ
    if not wanted:
        importlib.import_module("json")  # Most functions need it.
        api.ping()
        gc.collect()
    # What exists by now lives as long as the process: the collector need not look at it again.
    gc.freeze()
    if not wanted:
        os.write(fd, b"ready\n")
    document = b"".join(iter(lambda: os.read(fd, READ_CHUNK_BYTES), b""))
    os.close(fd)
    if not document:
        sys.exit(0)  # The sandbox is ending without ever having been used.
    told = from_json(document)
    os.environ.clear()
    os.environ.update(told["environment"])
    os.environ["_HANDLER"] = told["handler"]
    os.environ["LAMBDA_TASK_ROOT"] = told["taskRoot"]
    time.tzset()
    if told.get("cloned"):
        begin_anew()
    os.chdir(told["taskRoot"])


def set_search_path(task_root):
    """Code first, then layers, then this directory, as in AWS's runtimes."""
    version = "python{}.{}".format(*sys.version_info[:2])
    layers = ["/opt/python/lib/{}/site-packages".format(version), "/opt/python"]
    here = _here()
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(":") if entry not in ("", here)]
    first = [task_root, *given, *layers, here]
    sys.path[:] = first + [entry for entry in sys.path if entry not in first]


def _here():
    return os.path.dirname(os.path.abspath(__file__))


def main():
    """Serves the function until the sandbox ends."""
    sys.meta_path.insert(0, StandardFirst())
    sys.stdout, sys.stderr = open_output(1), open_output(2)
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    wait_for_function(api)
    set_search_path(os.environ.get("LAMBDA_TASK_ROOT") or os.getcwd())
    try:
        handler = load_handler(os.environ.get("_HANDLER", ""))
    except Exception as error:
        _end(error, api.fail_init, INIT_FAILED)
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        await_restore(api)
    serve(api, handler)
