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


def answer(client):
    with client:
        client.settimeout(120)
        head = b""
        while b"\r\n\r\n" not in head:
            received = client.recv(4096)
            if not received:
                return
            head += received
        path = head.split(b" ", 2)[1].decode()
        status = "200 OK"
        if path == "/healthz" and KIND == "sick":
            status = "500 Internal Server Error"
        body = f"{BUILD} {PORT} {os.uname().nodename}\n"
        client.sendall(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )


def quietly(client):
    try:
        answer(client)
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
    if KIND == "slow":
        time.sleep(1)
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
