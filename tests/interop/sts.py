"""AWS's Security Token Service, in small: says who signed a presigned `GetCallerIdentity`, for keys that it was told.

It checks Signature Version 4 over the request as it came, written from AWS's documentation and none of its libraries; over TLS, as
the regional hosts of AWS are called.
"""

import hashlib
import hmac
import http.server
import json
import ssl
import subprocess
import threading
from urllib.parse import parse_qsl, quote, urlsplit

HOSTS = ["sts.eu-west-1.amazonaws.com", "sts.us-east-1.amazonaws.com"]


def signature(secret, query, headers, date, scope):
    names = ";".join(name for name, _ in headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers)
    canonical = "\n".join(["GET", "/", query, lines, names, hashlib.sha256(b"").hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Sts:
    """Listens on a loopback port. `callers`: by access key, `(secret, session token, account, ARN, user ID)`."""

    def __init__(self, directory, callers):
        self.callers, self.calls = callers, []
        certificate, key = directory / "sts.pem", directory / "sts.key"
        names = ",".join(f"DNS:{host}" for host in HOSTS)
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        made += ["-keyout", key, "-out", certificate, "-subj", "/CN=sts", "-addext", f"subjectAltName={names}"]
        made += ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(made, check=True, capture_output=True)
        self.certificate = certificate
        sts = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = sts.judge(self.path, self.headers)
                sts.calls.append((self.path, dict(self.headers), status))
                body = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def judge(self, path, headers):
        refused = lambda code: (403, {"Error": {"Code": code, "Message": "no", "Type": "Sender"}, "RequestId": "1"})
        pairs = parse_qsl(urlsplit(path).query, keep_blank_values=True, strict_parsing=True)
        given = dict(pairs)
        if given.get("Action") != "GetCallerIdentity" or len(given) != len(pairs):
            return refused("InvalidAction")
        access_key, scope = given["X-Amz-Credential"].split("/", 1)
        if access_key not in self.callers:
            return refused("InvalidClientTokenId")
        secret, session, account, arn, user = self.callers[access_key]
        if given.get("X-Amz-Security-Token") != session:
            return refused("InvalidClientTokenId")
        signed = [(name, headers.get(name, "")) for name in given["X-Amz-SignedHeaders"].split(";")]
        rest = sorted((name, value) for name, value in pairs if name != "X-Amz-Signature")
        query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in rest)
        if signature(secret, query, signed, given["X-Amz-Date"], scope) != given["X-Amz-Signature"]:
            return refused("SignatureDoesNotMatch")
        result = {"Account": account, "Arn": arn, "UserId": user}
        return 200, {"GetCallerIdentityResponse": {"GetCallerIdentityResult": result, "ResponseMetadata": {"RequestId": "1"}}}

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
