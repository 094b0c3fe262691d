# The first process of a sandbox under test: executes what it is told over descriptor 3, answers one line of JSON each.
import json, os, socket
peer = socket.socket(fileno=3)
names = {"os": os, "socket": socket, "json": json}
for line in peer.makefile("r"):
    try:
        names["answer"] = None
        exec(json.loads(line), names)
        reply = {"ok": names["answer"]}
    except BaseException as error:
        reply = {"error": type(error).__name__, "errno": getattr(error, "errno", None), "text": str(error)}
    peer.sendall((json.dumps(reply) + "\n").encode())
