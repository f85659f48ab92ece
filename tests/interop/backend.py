"""A backend of which it is known to a request what it has acknowledged. It can be told to refuse and to die.

    python backend.py PORT CAPTURES TOKENS

TOKENS is JSON, { access token: project }. Each accepted request becomes one line of CAPTURES. Taking, noting and
answering a request is one step: what stands in CAPTURES has been answered and what does not has not, also when
the process is killed in the middle of a load (`die`), so that nothing may arrive twice. Orders come as lines on
standard input: `refuse PROJECT STATUS TIMES`, `disable` (answers to reports carry that command), `die`; each
is answered by a line once it holds.
"""

import base64
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, CAPTURES, TOKENS = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
LOCK = threading.Lock()
STATE = {"disable": False, "refused": {}}

# `commands: [{ disable: true }]` in the three languages of reports (lightstep.collector.ReportResponse).
REPORT_ANSWERS = {
    "/api/v2/reports": ("application/octet-stream", b"", bytes.fromhex("0a020801")),
    "/api/v0/reports": ("application/json", b'{"commands":null}', b'{"commands":[{"disable":true}]}'),
    "/_rpc/v1/reports/binary": (
        "application/x-thrift",
        bytes.fromhex("0c 0000 00 00"),
        bytes.fromhex("0c 0000 0f 0001 0c 00000001 02 0001 01 00 00 00"),
    ),
}


def answer(path, body):
    if path not in REPORT_ANSWERS:
        return "application/x-protobuf", b""
    kind, usual, disabling = REPORT_ANSWERS[path]
    chosen = disabling if STATE["disable"] else usual
    if kind == "application/x-thrift":
        # The reply to a strict CALL: its name and sequence number, after another type byte.
        length = 12 + int.from_bytes(body[4:8], "big")
        chosen = bytes.fromhex("80010002") + body[4:length] + chosen
    return kind, chosen


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def do_POST(self):
        body = self.body()
        project = TOKENS.get(self.headers.get("lightstep-access-token"))
        with LOCK:
            status, (kind, content) = 200, answer(self.path, body)
            refusal = STATE["refused"].get(project)
            if project is None:
                status = 401
            elif refusal and refusal["times"]:
                refusal["times"] -= 1
                status = refusal["status"]
            else:
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.note({"path": self.path, "project": project, "headers": headers}, body)
            content = content if status == 200 else b""
            head = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n\r\n"
            self.connection.sendall(head.encode() + content)

    def note(self, request, body):
        request["body_base64"] = base64.b64encode(body).decode()
        with open(CAPTURES, "a", encoding="utf-8") as file:
            file.write(json.dumps(request) + "\n")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", PORT), Requests)
threading.Thread(target=server.serve_forever, daemon=True).start()
for line in sys.stdin:
    order, *words = line.split()
    with LOCK:
        if order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == "disable":
            STATE["disable"] = True
        elif order == "refuse":
            STATE["refused"][words[0]] = {"status": int(words[1]), "times": int(words[2])}
    print("done", flush=True)
