"""Signatures: what botocore signs is taken, however odd the request, and nothing near it."""

import datetime
import http.client
import json
import random
import string
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from conftest import echo
from test_api import error_of
from test_iam import client_of

SEED = 20261122
REQUESTS = 60
FUNCTIONS = "/2015-03-31/functions"


def send(platform, method, path, headers, body=b""):
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-amzn-errortype"), answer.read()
    finally:
        connection.close()


def signed(platform, method, path, headers=(), body=b"", service="lambda", unsigned=False, token=None, keys=None):
    """Path and headers as botocore signs them; `path` is as on the wire."""
    key, secret = keys or platform.keys()
    request = botocore.awsrequest.AWSRequest(method=method, url=platform.endpoint + path, data=body)
    for name, value in headers:
        request.headers.add_header(name, value)
    if unsigned:
        request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    credentials = botocore.credentials.Credentials(key, secret, token)
    botocore.auth.SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    prepared = request.prepare()
    sent = [(name, value) for name, value in prepared.headers.items() if name.lower() != "content-length"]
    if not any(name.lower() == "host" for name, _ in sent):
        sent.append(("Host", f"127.0.0.1:{platform.port}"))
    return [*sent, ("Content-Length", str(len(body)))]


def is_let_in(outcome):
    status, kind, body = outcome
    assert status != 500, body
    return kind not in ("InvalidSignatureException", "IncompleteSignatureException", "UnrecognizedClientException")


def odd_request(random_):
    """Paths, queries and headers at the edges of what a client sends."""
    safe = string.ascii_letters + string.digits + "-_.~"
    text = lambda alphabet, most: "".join(random_.choice(alphabet) for _ in range(random_.randrange(most + 1)))  # noqa: E731
    segment = lambda: urllib.parse.quote(text(safe + " :/$%&+é@,;=!*'()", 8), safe="-_.~")  # noqa: E731
    name, alias = segment() or "x", segment() or "y"
    method, path = random_.choice([
        ("GET", f"{FUNCTIONS}/{name}"), ("PUT", f"{FUNCTIONS}/{name}/configuration"),
        ("GET", f"{FUNCTIONS}/{name}/aliases/{alias}"), ("DELETE", f"{FUNCTIONS}/{name}/aliases/{alias}"),
    ])  # fmt: skip
    names = [text(safe, 5) or "q" for _ in range(random_.randrange(4))]
    pairs = [(name, urllib.parse.quote(text(safe + " :/+=&é", 6), safe="-_.~")) for name in names]
    if pairs and random_.random() < 0.5:
        pairs.append((pairs[0][0], "again"))
    query = "&".join(f"{name}={value}" for name, value in pairs)
    headers = []
    for index in range(random_.randrange(3)):
        value = text(safe + "  ,;\"", 20)
        headers.append((random_.choice(["x-some", "X-Other", "x-Amz-Meta"]) + f"-{index}", value.strip()))
    body = text(safe + "{}", 30).encode() if random_.random() < 0.5 else b""
    return method, path + ("?" + query if query else ""), headers, body


def test_whatever_botocore_signs_is_taken(shared):
    random_ = random.Random(SEED)
    for _ in range(REQUESTS):
        method, path, headers, body = odd_request(random_)
        unsigned = random_.random() < 0.3
        sent = signed(shared, method, path, headers, body, unsigned=unsigned)
        outcome = send(shared, method, path, sent, body)
        assert is_let_in(outcome), (method, path, headers, body, outcome)
        forged = [(n, v[:-1] + ("0" if v[-1] != "0" else "1") if n == "Authorization" else v) for n, v in sent]
        assert send(shared, method, path, forged, body)[1] == "InvalidSignatureException", (method, path)
        if body and not unsigned:
            changed = bytes([body[0] ^ 1]) + body[1:]
            assert send(shared, method, path, sent, changed)[1] == "InvalidSignatureException", (method, path)


def test_names_of_headers_in_any_case_and_blanks_around_values(shared):
    sent = signed(shared, "GET", FUNCTIONS, [("X-Some", "a  b")])
    loud = [(name.upper(), f" {value}  " if name == "X-Some" else value) for name, value in sent]
    assert send(shared, "GET", FUNCTIONS, loud)[0] == 200


def test_an_arn_in_a_path_is_encoded_twice(shared, client, deploy):
    name = deploy(echo)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert client.get_function_configuration(FunctionName=arn)["FunctionArn"] == arn
    for path in (urllib.parse.quote(arn, safe=""), arn):
        path = f"{FUNCTIONS}/{path}/configuration"
        status, _, body = send(shared, "GET", path, signed(shared, "GET", path))
        assert status == 200 and json.loads(body)["FunctionName"] == name


def test_presigned_urls(shared, deploy):
    name = deploy(echo)
    key, secret = shared.keys()
    for service, token in (("lambda", None), ("lambda", "session")):
        credentials = botocore.credentials.Credentials(key, secret)
        if token:
            given = client_of(shared, "sts").get_session_token()["Credentials"]
            credentials = botocore.credentials.Credentials(
                given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
            )
        path = f"{FUNCTIONS}/{name}/configuration?Qualifier=%24LATEST"
        request = botocore.awsrequest.AWSRequest(method="GET", url=shared.endpoint + path)
        botocore.auth.SigV4QueryAuth(credentials, service, "us-east-1", expires=60).add_auth(request)
        url = request.url[len(shared.endpoint) :]
        host = [("Host", f"127.0.0.1:{shared.port}")]
        assert send(shared, "GET", url, host)[0] == 200
        assert send(shared, "GET", url.replace("LATEST", "LATESU"), host)[1] == "InvalidSignatureException"


def test_clocks_scopes_and_tokens(shared, monkeypatch):
    for seconds, taken in ((-240, True), (240, True), (-360, False), (360, False)):
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda now=now: now.replace(tzinfo=None))
        outcome = send(shared, "GET", FUNCTIONS, signed(shared, "GET", FUNCTIONS))
        assert is_let_in(outcome) == taken, (seconds, outcome)
    monkeypatch.undo()
    status, kind, body = send(shared, "GET", FUNCTIONS, signed(shared, "GET", FUNCTIONS, service="s3"))
    assert (status, kind) == (403, "InvalidSignatureException") and b"correct service: 'lambda'" in body
    given = client_of(shared, "sts").get_session_token()["Credentials"]
    sent = signed(shared, "GET", FUNCTIONS)
    added = [*sent, ("x-amz-security-token", given["SessionToken"])]
    assert not is_let_in(send(shared, "GET", FUNCTIONS, added))


def test_payloads_signed_in_chunks_are_refused_clearly(shared):
    headers = [("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]
    status, kind, body = send(shared, "GET", FUNCTIONS, signed(shared, "GET", FUNCTIONS, headers))
    assert (status, kind) == (403, "IncompleteSignatureException")
    assert b"signed in chunks" in body


@pytest.mark.parametrize("service", ["sts", "iam"])
def test_errors_of_the_query_protocol(shared, service):
    wrong = client_of(shared, service, (shared.keys()[0], "wrong"))
    call = wrong.get_caller_identity if service == "sts" else wrong.list_roles
    assert error_of(call)[0] == "SignatureDoesNotMatch"
