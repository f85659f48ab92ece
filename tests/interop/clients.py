"""Clients that run as processes of their own: one order per line in, one answer per line out."""

import json
import queue
import subprocess
import threading


class Client:
    """A child that answers each JSON line with one JSON line."""

    def __init__(self, command, directory, env=None):
        self.child = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(directory / "clients.log", "ab"),
            cwd=directory,
            env=env,
            text=True,
        )
        self.answers = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            if line.startswith("{"):  # libraries print as they like
                self.answers.put(json.loads(line))

    def ask(self, patience=20, **order):
        self.child.stdin.write(json.dumps(order) + "\n")
        self.child.stdin.flush()
        try:
            return self.answers.get(timeout=patience)
        except queue.Empty:
            raise AssertionError(f"no answer to {order} in {patience} s; exit status {self.child.poll()}") from None

    def stop(self):
        self.child.stdin.close()
        try:
            self.child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()
