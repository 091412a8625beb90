#!/usr/bin/env python3
"""Four regions as far apart as they are on the map, for the pictures: world.py PROGRAM FOLDER

Each region is a network namespace with the sidecar, a web and a DNS server; this process carries the packets between
them, and holds each for half of the round trip. It prints the name of the first region's namespace, in which the pictures
are to be taken, once all of them are measured. When a line comes on its input, us-east-1 falls silent. It ends with its
input, and takes everything along. Needs root and Linux.
"""
import ctypes, fcntl, heapq, http.server, os, random, select, socket, struct, subprocess, sys, threading, time

PROGRAM, FOLDER = sys.argv[1:]
REGIONS = ["eu-west-1", "eu-central-1", "us-east-1", "ap-southeast-2"]
DEAD = "us-east-1"
# Round trips in ms, as they are measured between these regions.
ROUND_TRIPS = {
    ("eu-west-1", "eu-central-1"): 24.1, ("eu-west-1", "us-east-1"): 67.8, ("eu-west-1", "ap-southeast-2"): 254.6,
    ("eu-central-1", "us-east-1"): 91.2, ("eu-central-1", "ap-southeast-2"): 247.9, ("us-east-1", "ap-southeast-2"): 198.3,
}
address = lambda region: f"10.77.0.{REGIONS.index(region) + 1}"
own = os.getpid()
namespace = lambda region: f"picture-{own}-{region}"
ip = lambda *words: subprocess.run(["ip", *words], check=True)


def serve_web(host):
    class Page(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            time.sleep(random.uniform(0.002, 0.005))
            # At once: what follows a first part waits for its acknowledgement.
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n")

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer((host, 80), Page).serve_forever()


def serve_names(host):
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((host, 53))
    while True:
        question, asker = names.recvfrom(512)
        end = question.index(0, 12) + 5
        counts = bytes([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
        record = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1])
        names.sendto(question[:2] + counts + question[12:end] + record, asker)


def serve(region):
    """Servers in a child of its own, because a namespace belongs to a process."""
    child = os.fork()
    if child != 0:
        return child
    try:
        # It ends with its parent: PR_SET_PDEATHSIG, SIGKILL.
        ctypes.CDLL(None).prctl(1, 9)
        with open(f"/run/netns/{namespace(region)}") as file:
            ctypes.CDLL(None).setns(file.fileno(), 0)
        threading.Thread(target=serve_names, args=[address(region)], daemon=True).start()
        serve_web(address(region))
    finally:
        os._exit(1)


def configuration(own):
    text = f"region: {own}\nlisten: 0.0.0.0:9877\nfailover: {{execute_after: 30s}}\nvotes: {{key_file: {FOLDER}/votes.key}}\n"
    text += 'alertmanagers: ["http://127.0.0.1:9093"]\npeers:\n'
    for peer in REGIONS:
        if peer != own:
            host = address(peer)
            text += f"""  - region: {peer}
    targets:
      - name: edge
        host: {host}
        probes:
          - {{kind: icmp}}
          - {{kind: dns, query: app.example.com, record: A}}
          - {{kind: tcp, port: 80}}
          - {{kind: http, url: "http://{host}/", critical: true}}
          - {{kind: http, url: "http://{host}:9877/api/v1/regions", sidecar: true}}
"""
    return text


def tun(region):
    """A device in a region's namespace, from which this process reads what the region sends."""
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"pic{REGIONS.index(region)}"
    # TUNSETIFF, IFF_TUN | IFF_NO_PI
    fcntl.ioctl(file, 0x400454CA, struct.pack("16sH", name.encode(), 0x1001))
    ip("link", "set", name, "netns", namespace(region))
    ip("-n", namespace(region), "link", "set", "lo", "up")
    ip("-n", namespace(region), "address", "add", f"{address(region)}/24", "dev", name)
    ip("-n", namespace(region), "link", "set", name, "up")
    return file


def carry(devices, silent):
    by_address = {socket.inet_aton(address(region)): region for region in REGIONS}
    region_of = {file: region for region, file in devices.items()}
    held, number = [], 0
    while True:
        wait = max(0, held[0][0] - time.monotonic()) if held else 1
        for file in select.select(list(region_of), [], [], wait)[0]:
            packet, now = os.read(file, 65536), time.monotonic()
            here, there = region_of[file], by_address.get(packet[16:20])
            # Whatever is not IPv4 between two of them, such as the router solicitations of IPv6.
            if packet[0] >> 4 != 4 or there is None or silent & {here, there}:
                continue
            half = (ROUND_TRIPS.get((here, there)) or ROUND_TRIPS[there, here]) / 2000
            # Queues on the way are mostly empty, and sometimes not.
            queued = random.expovariate(1 / (0.004 * half)) + (random.random() < 0.01) * random.uniform(0, 0.2 * half)
            number += 1
            heapq.heappush(held, (now + half + queued, number, devices[there], packet))
        while held and held[0][0] <= time.monotonic():
            os.write(held[0][2], heapq.heappop(held)[3])


def main():
    children = []
    try:
        with open(f"{FOLDER}/votes.key", "w") as file:
            file.write("0123456789abcdef0123456789abcdef\n")
        os.chmod(file.name, 0o600)
        for region in REGIONS:
            ip("netns", "add", namespace(region))
        silent = set()
        devices = {region: tun(region) for region in REGIONS}
        children.extend(serve(region) for region in REGIONS)
        threading.Thread(target=carry, args=[devices, silent], daemon=True).start()
        for region in REGIONS:
            with open(f"{FOLDER}/{region}.yaml", "w") as file:
                file.write(configuration(region))
            with open(f"{FOLDER}/{region}.log", "w") as log:
                run = ["ip", "netns", "exec", namespace(region), PROGRAM, "run", "--config", file.name]
                children.append(subprocess.Popen(run, stdout=log, stderr=log, stdin=subprocess.DEVNULL).pid)
        print(namespace(REGIONS[0]), flush=True)
        for _ in sys.stdin:
            silent.add(DEAD)
    finally:
        for child in children:
            os.kill(child, 15)
        for child in children:
            os.waitpid(child, 0)
        for region in REGIONS:
            subprocess.run(["ip", "netns", "delete", namespace(region)], check=False)


main()
