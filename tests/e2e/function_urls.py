"""Function URLs as tests use them: requests through plain HTTP with the URL's `Host`."""

import http.client
import json

# What lets everybody in, by the ids of the statements (developer guide, "Control access to Lambda function URLs").
STRANGERS = {
    "url": {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"},
    "invoke-by-url": {"Action": "lambda:InvokeFunction", "Principal": "*", "InvokedViaFunctionUrl": True},
}


def let_everybody_in(client, name, **qualifier):
    for statement, permission in STRANGERS.items():
        client.add_permission(FunctionName=name, StatementId=statement, **permission, **qualifier)


class Url:
    """A function with a URL."""

    def __init__(self, shared, name, auth="NONE", open_to_all=True, **settings):
        self.shared, self.name = shared, name
        client = shared.client()
        self.config = client.create_function_url_config(FunctionName=name, AuthType=auth, **settings)
        self.host = self.config["FunctionUrl"].removeprefix("http://").rstrip("/")
        self.id = self.host.split(".")[0]
        if open_to_all:
            qualifier = {"Qualifier": settings["Qualifier"]} if "Qualifier" in settings else {}
            let_everybody_in(client, name, **qualifier)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.shared.port, timeout=60)

    def ask(self, method="GET", target="/", body=None, headers=()):
        """Status, headers as a list, body."""
        connection = self.connect()
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", self.host)
        for header, value in dict(headers).items() if isinstance(headers, dict) else headers:
            connection.putheader(header, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), read

    def event(self, *args, **kwargs):
        status, _, body = self.ask(*args, **kwargs)
        assert status == 200, body
        return json.loads(body)[0]


def value(headers, name):
    return next((value for known, value in headers if known.lower() == name), None)
