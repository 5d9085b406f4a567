"""The service `hello`: tells its build, its port and its host. A release is this file and two words."""
import os
import signal
import socket
import sys
import threading
import time

PORT = int(sys.argv[1])
BUILD = open("build").read().strip()
KIND = open("kind").read().strip()
# What a request takes, but for the probe: so that under load, requests are under way at any time.
WORK_S = 0.02
# What a start takes, by the kind of the build.
START_S = {"slow": 1, "brisk": 0.3}
IDLE_S_MAX = 120


def serve(client):
    """Answers one request after the other, as HTTP/1.1 wants it, until one asks for the end."""
    with client:
        client.settimeout(IDLE_S_MAX)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unread = b""
        while True:
            while b"\r\n\r\n" not in unread:
                received = client.recv(4096)
                if not received:
                    return
                unread += received
            head, unread = unread.split(b"\r\n\r\n", 1)
            last = is_last(head)
            client.sendall(answer(head.split(b" ", 2)[1].decode(), last))
            if last:
                return


def is_last(head):
    lines = head.lower().split(b"\r\n")
    return b"connection: close" in lines or not lines[0].endswith(b" http/1.1")


def answer(path, last):
    if path != "/healthz":
        time.sleep(WORK_S)
    status = "500 Internal Server Error" if KIND == "sick" else "200 OK"
    body = f"{BUILD} {PORT} {os.uname().nodename}\n"
    connection = "Connection: close\r\n" if last else ""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{connection}\r\n{body}".encode()


def quietly(client):
    try:
        serve(client)
    except OSError:
        pass


def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        address = os.environ["NOTIFY_SOCKET"]
        notify.connect("\0" + address[1:] if address.startswith("@") else address)
        notify.send(b"READY=1")


def main():
    if KIND == "dies":
        sys.exit("hello: PAYMENTS_URL is not set")
    if KIND == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(START_S.get(KIND, 0))
    while KIND == "waits" and os.path.exists("/run/hello-waits"):
        time.sleep(0.05)
    listener = socket.create_server(("", PORT), backlog=128)
    ready()
    if KIND == "loops":
        time.sleep(0.3)
        sys.exit("hello: the payments server is gone")
    print(f"hello {BUILD} on {PORT}", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=quietly, args=(client,), daemon=True).start()


main()
