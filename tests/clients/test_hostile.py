"""Clients that are malformed, too large, slow, greedy or at odds with each other, over plain sockets.

Each gets its clear answer within a bounded time, and the agent is none the worse for it.
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import select
import socket
import struct
import time
import unittest

from agent import Agent, eventually

HEADER_MS_MAX, BODY_MS_MAX = 1000, 1500
BODY_BYTES_MAX, IMAGE_BYTES_MAX = 1 << 20, 4 << 20
CONNECTIONS_MAX = 200
# Until an answer that needs no time-out; generous, because the machine may be busy.
ANSWER_S_MAX = 5
# More than this on top of what it had before is a leak.
GROWTH_KIB_MAX, GROWTH_DESCRIPTORS_MAX = 16 << 10, 4
ROUNDS = int(os.environ.get("JIFFY_CLIENTS_ROUNDS", "2"))
EVENT = b'{"name":"Ada"}'
GREETING = b'{"greeting":"Hello, Ada!"}'

agent = None


def setUpModule():
    global agent
    agent = Agent(
        limits__header_ms_max=HEADER_MS_MAX,
        limits__body_ms_max=BODY_MS_MAX,
        limits__body_bytes_max=BODY_BYTES_MAX,
        limits__image_bytes_max=IMAGE_BYTES_MAX,
        limits__connections_max=CONNECTIONS_MAX,
        limits__versions_max=64,
        pool__keep_alive_ms=1000,
        pool__queue_len_max=20,
        pool__queue_ms_max=2000,
        # With more, the number of those that wait follows the load, and so does the number of descriptors.
        pool__shells_min=4,
        pool__shells_max=4,
    )
    agent.deploy("hello", "hello", max_concurrency=4)
    agent.deploy("faults", "faults", max_concurrency=2, timeout_ms=1500)
    agent.deploy("webhook", "webhook")


def tearDownModule():
    agent.stop()


@contextlib.contextmanager
def connection():
    with socket.create_connection(("127.0.0.1", agent.port), timeout=ANSWER_S_MAX) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield stream


def received(stream, s_max=ANSWER_S_MAX):
    """Everything until the agent closes the connection, or until nothing has come for half a second."""
    data, end = b"", time.monotonic() + s_max
    with contextlib.suppress(ConnectionResetError):
        while time.monotonic() < end:
            wait_s = 0.5 if data else end - time.monotonic()
            if not select.select([stream], [], [], max(wait_s, 0))[0]:
                break
            piece = stream.recv(1 << 16)
            if not piece:
                break
            data += piece
    return data


def statuses(data):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", data)]


def sent(data):
    """What these bytes get."""
    with connection() as stream:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stream.sendall(data)
        return received(stream)


def is_closed(stream, s_max):
    """Whether the agent closes the connection by then."""
    end = time.monotonic() + s_max
    with contextlib.suppress(ConnectionResetError):
        while time.monotonic() < end:
            if select.select([stream], [], [], 0.1)[0] and not stream.recv(1 << 16):
                return True
        return False
    return True


def post(path="/v1/functions/hello/invoke", body=EVENT, headers=b"", host=b"Host: localhost\r\n"):
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %s HTTP/1.1\r\n%s%s%s\r\n%s" % (path.encode(), host, length, headers, body)


class Hostile(unittest.TestCase):
    def setUp(self):
        eventually(lambda: agent.invoke("hello", EVENT).status == 200, "the agent is not well before the test")
        self.began = time.monotonic()

    def tearDown(self):
        """Whatever was done to it, the agent serves on."""
        eventually(lambda: agent.invoke("hello", EVENT).body == GREETING, "the agent is not well after the test")

    def check(self, status, data, text=b""):
        """That these bytes get one answer with this status, and that a problem says what is wrong."""
        answer = sent(data)
        self.assertEqual(statuses(answer), [status], (data[:200], answer[:500]))
        self.assertIn(text, answer)
        return answer

    def refused(self, data):
        """That these bytes get nothing but, perhaps, a marked 400 or 505, and that the connection ends."""
        with connection() as stream:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stream.sendall(data)
            answer = received(stream)
            self.assertIn(statuses(answer), [[], [400], [505]], (data[:200], answer[:500]))
            if answer:
                self.assertRegex(answer, rb"(?i)\r\njiffy-error: ", data[:200])
            self.assertTrue(is_closed(stream, ANSWER_S_MAX), data[:200])

    def test_what_is_no_http_is_refused(self):
        host = b"Host: localhost\r\n"
        for data in [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
            b"\x00" * 100 + b"\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET /v1/health HTTP/9.9\r\n" + host + b"\r\n",
            b"GET /v1/health HTTP/1.1 more\r\n" + host + b"\r\n",
            b"G\x00T /v1/health HTTP/1.1\r\n" + host + b"\r\n",
            b"GET /v1/\x00health HTTP/1.1\r\n" + host + b"\r\n",
            b"GET /v1/he alth HTTP/1.1\r\n" + host + b"\r\n",
            b"GET /v1/health HTTP/1.1\r\n" + host + b"no colon\r\n\r\n",
            b"GET /v1/health HTTP/1.1\r\n" + host + b"sp ace: x\r\n\r\n",
            b"GET /v1/health HTTP/1.1\r\n" + host + b"x : y\r\n\r\n",
            b"GET /v1/health HTTP/1.1\r\n" + host + b": y\r\n\r\n",
            b"GET /v1/health HTTP/1.1\r\n" + host + b"x: a\x00b\r\n\r\n",
            b"GET /v1/health HTTP/1.1\r\n" + host + b"x: a\r\n folded\r\n\r\n",
            b"GET /v1/health HTTP/1.1\r\n" + host + b"x: a\rb\r\n\r\n",
        ]:
            with self.subTest(data=data[:60]):
                self.refused(data)

    def test_two_readings_of_a_length_are_refused(self):
        """What another server in the chain could cut differently smuggles requests."""
        begin = b"POST /v1/functions/hello/invoke HTTP/1.1\r\nHost: localhost\r\n"
        chunked = b"Transfer-Encoding: chunked\r\n"
        for head, body in [
            (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"123456"),
            (b"Content-Length: 5, 6\r\n", b"123456"),
            (b"Content-Length: -1\r\n", b""),
            (b"Content-Length: +5\r\n", b"12345"),
            (b"Content-Length: 0x5\r\n", b"12345"),
            (b"Content-Length: 99999999999999999999999\r\n", b""),
            (b"Content-Length:\r\n", b""),
            (b"Transfer-Encoding: gzip\r\n", b""),
            (b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
            (chunked, b"FFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n"),
            (chunked, b"-1\r\nx\r\n0\r\n\r\n"),
            (chunked, b"xyz\r\nx\r\n0\r\n\r\n"),
            (chunked, b"3\r\nabcdef\r\n0\r\n\r\n"),
        ]:
            with self.subTest(head=head, body=body):
                self.refused(begin + head + b"\r\n" + body)
        # With both, a second request must not hide in what the length leaves over.
        both = begin + b"Content-Length: 5\r\n" + chunked + b"\r\n0\r\n\r\nGET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.assertLessEqual(len(statuses(sent(both))), 1)

    def test_strange_requests_get_a_clear_answer(self):
        for status, line in [
            (404, b"GET / HTTP/1.1"),
            (404, b"GET //v1//health HTTP/1.1"),
            (404, b"GET /v1/health/ HTTP/1.1"),
            (404, b"GET /v1/%00 HTTP/1.1"),
            (400, b"GET /v1/functions/.. HTTP/1.1"),
            (404, b"GET /../../etc/passwd HTTP/1.1"),
            (400, b"GET /v1/functions/%2e%2e HTTP/1.1"),
            (400, b"GET /v1/functions/%ff HTTP/1.1"),
            (400, b"GET /v1/functions/a%2fb HTTP/1.1"),
            (400, b"GET /v1/functions/%00 HTTP/1.1"),
            (400, b"GET /fn/%ff/x HTTP/1.1"),
            (400, b"GET /fn/%2e%2e/x HTTP/1.1"),
            (400, b"GET /v1/functions?limit=-1 HTTP/1.1"),
            (400, b"GET /v1/functions?limit=1&limit=2 HTTP/1.1"),
            (400, b"GET /v1/functions?unknown=1 HTTP/1.1"),
            (421, b"GET http://elsewhere.example/v1/health HTTP/1.1"),
            (405, b"POST /v1/health HTTP/1.1"),
            (405, b"BREW /v1/health HTTP/1.1"),
            (405, b"TRACE /fn/webhook HTTP/1.1"),
            (501, b"CONNECT elsewhere.example:443 HTTP/1.1"),
            (404, b"OPTIONS * HTTP/1.1"),
            (404, b"GET /2015-03-31/functions/nobody HTTP/1.1"),
            (404, b"GET /2015-03-31/functions/hello/nothing HTTP/1.1"),
            (405, b"PATCH /2015-03-31/functions/hello HTTP/1.1"),
        ]:
            with self.subTest(line=line):
                answer = self.check(status, line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if status >= 400:
                    self.assertRegex(answer, rb"application/(problem\+)?json")

    def test_a_request_names_its_host_once(self):
        begin, end = b"GET /v1/health HTTP/1.1\r\n", b"Connection: close\r\n\r\n"
        for status, host in [(400, b""), (400, b"Host: a\r\nHost: a\r\n"), (400, b"Host: a b\r\n"), (200, b"Host: [::1]:7\r\n")]:
            with self.subTest(host=host):
                self.check(status, begin + host + end)
        self.check(200, b"GET /v1/health HTTP/1.0\r\n\r\n")

    def test_without_a_token_no_page_of_a_browser_is_answered(self):
        end = b"Connection: close\r\n\r\n"
        for path in [b"/v1/functions", b"/2015-03-31/functions"]:
            begin = b"GET %s HTTP/1.1\r\n" % path
            for status, head in [
                (421, b"Host: rebound.example:7070\r\n"),
                (421, b"Host: localhost.evil.example\r\n"),
                (421, b"Host: 0.0.0.0\r\n"),
                (403, b"Host: localhost\r\nOrigin: http://evil.example\r\n"),
                (403, b"Host: localhost\r\nOrigin: null\r\n"),
                (403, b"Host: localhost\r\nSec-Fetch-Site: same-origin\r\n"),
            ]:
                with self.subTest(path=path, head=head):
                    self.check(status, begin + head + end, b"token_file")

    def test_what_is_no_document_gets_400(self):
        json_type = b"Content-Type: application/json\r\nConnection: close\r\n"
        digest = "0" * 64
        for status, body in [
            (400, b""),
            (400, b"{"),
            (400, b"null"),
            (400, b"\xff\xfe"),
            (400, b"[" * 60000),
            (400, b'{"a":' * 10000),
            (400, b'{"image":1}'),
            (400, b'{"image":"../../etc/passwd"}'),
            (400, b'{"image":"' + digest.encode() + b'","unknown":1}'),
            (400, b'{"image":"' + digest.encode() + b'","memory_bytes":1e400}'),
            (400, b'{"image":"' + digest.encode() + b'","memory_bytes":-1}'),
            (404, b'{"image":"' + digest.encode() + b'"}'),
            (413, b'{"image":"' + b"0" * (1 << 17) + b'"}'),
        ]:
            with self.subTest(body=body[:60]):
                put = post("/v1/functions/new", body, json_type).replace(b"POST", b"PUT", 1)
                self.check(status, put, b"urn:jiffy:")
        self.check(415, post("/v1/functions/new", b"{}").replace(b"POST", b"PUT", 1), b"urn:jiffy:")

    def test_what_is_too_large_is_refused_before_it_is_read(self):
        health = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        self.check(200, health + b"a: %s\r\n\r\n" % (b"x" * 60000))
        self.check(431, health + b"a: %s\r\n\r\n" % (b"x" * 70000), b"urn:jiffy:headers-too-large")
        self.check(414, b"GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % (b"x" * 9000), b"urn:jiffy:target-too-long")
        for head in [b"a: %s\r\n\r\n" % (b"x" * (1 << 20)), b"a: b\r\n" * 12000 + b"\r\n", b"x" * (1 << 20)]:
            answer = sent(health + head)
            self.assertIn(statuses(answer), [[], [431]], answer[:200])
        invoke = b"POST /v1/functions/hello/invoke HTTP/1.1\r\nHost: localhost\r\n"
        # Announced and not sent.
        self.check(413, invoke + b"Content-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1), b"urn:jiffy:too-large")
        self.check(413, invoke + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", b"urn:jiffy:too-large")
        self.check(413, b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (IMAGE_BYTES_MAX + 1))
        self.check(413, b"POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        # Sent and not announced.
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        for path, bytes_max in [("/v1/functions/hello/invoke", BODY_BYTES_MAX), ("/v1/images", IMAGE_BYTES_MAX)]:
            head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode()
            # A piece more than it takes, so that the answer does not meet bytes that nobody reads.
            data = head + chunk * (bytes_max // (1 << 16)) + b"1\r\nx\r\n"
            self.check(413, data, b"urn:jiffy:too-large")

    def test_what_just_fits_is_taken(self):
        padded = EVENT + b" " * (BODY_BYTES_MAX - len(EVENT))
        self.check(200, post(body=padded, headers=b"Connection: close\r\n"), GREETING)
        chunked = b"1\r\n{\r\n" + b"%x\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(EVENT) - 1, EVENT[1:])
        head = b"POST /v1/functions/hello/invoke HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.check(200, head + chunked, GREETING)
        with connection() as stream:
            stream.sendall(head.replace(b"Transfer", b"Expect: 100-continue\r\nTransfer"))
            self.assertEqual(statuses(received(stream)), [100])
            stream.sendall(chunked)
            self.assertEqual(statuses(received(stream)), [200])

    def test_slow_headers_end_the_connection(self):
        with connection() as silent, connection() as dribbling:
            end = time.monotonic() + HEADER_MS_MAX / 1000 + ANSWER_S_MAX
            data = iter(b"GET /v1/health HTTP/1.1\r\n" + b"x: y\r\n" * 1000)
            closed = False
            while not closed and time.monotonic() < end:
                try:
                    dribbling.sendall(bytes([next(data)]))
                    closed = is_closed(dribbling, 0.1)
                except (BrokenPipeError, ConnectionResetError):
                    closed = True
            self.assertTrue(closed, "headers may be dribbled for ever")
            self.assertLess(time.monotonic() - self.began, HEADER_MS_MAX / 1000 + 2)
            self.assertTrue(is_closed(silent, 2), "a connection may be silent for ever")

    def test_slow_bodies_get_408(self):
        heads = [
            b"POST /v1/functions/hello/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
            b"POST /v1/functions/hello/invoke HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
            b"POST /fn/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
            b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
            b"PUT /v1/functions/hello HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
            b"POST /2015-03-31/functions/hello/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
            b"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
        ]
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(connection()) for _ in heads]
            for stream, head in zip(streams, heads):
                stream.sendall(head)
            answers = {}
            end = time.monotonic() + BODY_MS_MAX / 1000 + ANSWER_S_MAX
            while len(answers) < len(heads) and time.monotonic() < end:
                for index, stream in enumerate(streams):
                    if index in answers:
                        continue
                    if select.select([stream], [], [], 0)[0]:
                        answers[index] = received(stream)
                    else:
                        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                            stream.sendall(b" ")
                time.sleep(0.05)
            for index, head in enumerate(heads):
                self.assertEqual(statuses(answers.get(index, b"")), [408], head)
            for stream in streams:
                self.assertTrue(is_closed(stream, 2 * ANSWER_S_MAX), "a connection with half a request stays open")

    def test_a_crowd_of_slow_clients_holds_up_nobody_for_long(self):
        """All places are taken by clients that send nothing more: such are thrown out for others after a second."""
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS_MAX + 50):
                stack.enter_context(connection()).sendall(b"GET /v1/health HTTP/1.1\r\nx:")
            self.assertEqual(agent.request("GET", "/v1/health").status, 200)
            # Those that were thrown out may read why for another second.
            served = lambda: agent.invoke("hello", EVENT).status == 200
            eventually(served, "they keep everybody else out", s_max=HEADER_MS_MAX / 1000 + ANSWER_S_MAX)

    def test_pipelined_requests_are_answered_in_order(self):
        events = [b'{"name":"%d"}' % index for index in range(100)]
        mixed = b"".join(post(body=event) + b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n" for event in events)
        answer = sent(mixed)
        self.assertEqual(statuses(answer), [200] * 200)
        greeted = [int(number) for number in re.findall(rb'"Hello, (\d+)!"', answer)]
        self.assertEqual(greeted, list(range(100)))

    def test_who_pipelines_and_never_reads_is_held_back(self):
        before_kib = agent.resident_kib()
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with connection() as stream:
            stream.setblocking(False)
            sent_bytes, end = 0, time.monotonic() + 5
            while time.monotonic() < end:
                if not select.select([], [stream], [], 0.5)[1]:
                    break
                sent_bytes += stream.send(request * 1000)
            else:
                self.fail(f"{sent_bytes} bytes of requests were taken from who reads no answer")
            self.assertLess(agent.resident_kib() - before_kib, GROWTH_KIB_MAX)

    def test_who_goes_away_leaves_nothing_behind(self):
        spin = json.dumps({"kind": "spin"}).encode()
        for _ in range(20):
            with connection() as stream:
                stream.sendall(post("/v1/functions/faults/invoke", spin))
                time.sleep(0.02)
                # Without this it says goodbye first.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        event = {"kind": "rdtsc"}
        eventually(lambda: agent.invoke("faults", event).status != 429, "its VMs stay taken", s_max=15)

    def test_two_deploys_of_one_function_at_once(self):
        document = {"image": agent.upload("hello"), "max_concurrency": 4}
        with concurrent.futures.ThreadPoolExecutor(8) as workers:
            for name in ["hello", "brand-new"]:
                deploy = lambda _: agent.request("PUT", f"/v1/functions/{name}", document)
                answers = list(workers.map(deploy, range(8)))
                found = [answer.status for answer in answers]
                self.assertLessEqual(set(found), {200, 201, 409})
                self.assertIn(409, found)
                numbers = [answer.json()["version"] for answer in answers if answer.status < 300]
                self.assertEqual(len(numbers), len(set(numbers)), "a number was given twice")
                if name == "brand-new":
                    self.assertEqual(found.count(201), 1)
                live = agent.request("GET", f"/v1/functions/{name}").json()["live"]
                self.assertEqual(live, max(numbers))
        self.assertEqual(agent.request("DELETE", "/v1/functions/brand-new").status, 204)
        self.forget_versions("hello")

    def test_deploys_while_requests_run_are_not_noticed(self):
        with concurrent.futures.ThreadPoolExecutor(4) as workers:
            invoking = [workers.submit(self.invoke_for, 2, "hello") for _ in range(3)]
            for index in range(10):
                agent.deploy("hello", "hello", max_concurrency=4, description=str(index))
            answers = set().union(*(worker.result() for worker in invoking))
        self.assertEqual(answers, {(200, GREETING)})
        self.forget_versions("hello")

    def forget_versions(self, name):
        """Published versions stay until somebody deletes them."""
        live = agent.request("GET", f"/v1/functions/{name}").json()["live"]
        for version in agent.request("GET", f"/v1/functions/{name}/versions").json()["versions"]:
            if version["version"] != live:
                agent.request("DELETE", f"/v1/functions/{name}/versions/{version['version']}")

    def invoke_for(self, seconds, name):
        """The answers that come in this time, each once."""
        answers, end = set(), time.monotonic() + seconds
        while time.monotonic() < end:
            answer = agent.invoke(name, EVENT)
            answers.add((answer.status, answer.body if answer.status == 200 else b""))
        return answers

    def test_a_function_is_deleted_while_requests_run(self):
        with concurrent.futures.ThreadPoolExecutor(4) as workers:
            invoking = [workers.submit(self.invoke_for, 2, "doomed") for _ in range(3)]
            for _ in range(5):
                agent.deploy("doomed", "hello")
                time.sleep(0.1)
                self.assertEqual(agent.request("DELETE", "/v1/functions/doomed").status, 204)
            answers = set().union(*(worker.result() for worker in invoking))
        self.assertEqual(answers, {(200, GREETING), (404, b"")})

        # A request that is under way when its function goes is still answered.
        agent.deploy("doomed", "faults", timeout_ms=1000)
        with concurrent.futures.ThreadPoolExecutor(1) as workers:
            spinning = workers.submit(agent.invoke, "doomed", {"kind": "spin"})
            time.sleep(0.3)
            self.assertEqual(agent.request("DELETE", "/v1/functions/doomed").status, 204)
            self.assertEqual(spinning.result().status, 504)

    def test_changes_that_conflict_do_not_both_happen(self):
        """An alias is led to a version while that is deleted."""
        agent.deploy("changes", "hello")
        with concurrent.futures.ThreadPoolExecutor(2) as workers:
            for _ in range(10):
                old = agent.request("GET", "/v1/functions/changes").json()["live"]
                agent.deploy("changes", "hello")
                path = "/v1/functions/changes/aliases/prod"
                aliased = workers.submit(agent.request, "PUT", path, {"version": old})
                deleted = workers.submit(agent.request, "DELETE", f"/v1/functions/changes/versions/{old}")
                pair = (aliased.result().status, deleted.result().status)
                self.assertIn(pair, [(200, 409), (404, 204)])
                if pair[0] == 200:
                    self.assertEqual(agent.request("DELETE", path).status, 204)
        self.assertEqual(agent.request("DELETE", "/v1/functions/changes").status, 204)

    def test_more_than_it_may_run_is_refused_soon(self):
        """Two VMs, twenty places in the queue: of forty requests that never end each is answered in bounded time."""
        with concurrent.futures.ThreadPoolExecutor(40) as workers:
            answers = list(workers.map(lambda _: agent.invoke("faults", {"kind": "spin"}), range(40)))
        found = [answer.status for answer in answers]
        self.assertLessEqual(set(found), {429, 504})
        self.assertGreaterEqual(found.count(429), 18)
        self.assertGreaterEqual(found.count(504), 2)
        for answer in answers:
            if answer.status == 429:
                self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        self.assertLess(time.monotonic() - self.began, 2 + 2 * 1.5 + ANSWER_S_MAX)


class LeavesNothing(unittest.TestCase):
    """Runs the rest several times over and compares what the agent holds."""

    def settle(self):
        """Waits until all VMs that hold a function are gone."""
        instances = lambda: agent.request("GET", "/v1/instances").json()["instances"]
        eventually(lambda: not instances(), lambda: f"VMs stay: {instances()}", s_max=20)
        time.sleep(0.5)

    def test_neither_memory_nor_descriptors_grow(self):
        names = [name for name in dir(Hostile) if name.startswith("test_")]
        held = []
        for _ in range(ROUNDS):
            result = unittest.TestResult()
            for name in names:
                Hostile(name).run(result)
            self.assertTrue(result.wasSuccessful(), result.errors + result.failures)
            self.settle()
            held.append((agent.resident_kib(), agent.descriptors()))
        print(f"resident KiB and descriptors after each round: {held}", flush=True)
        (first_kib, first_descriptors), (last_kib, last_descriptors) = held[0], held[-1]
        self.assertLess(last_kib - first_kib, GROWTH_KIB_MAX, held)
        self.assertLessEqual(last_descriptors - first_descriptors, GROWTH_DESCRIPTORS_MAX, held)


def load_tests(_loader, tests, _pattern):
    """`LeavesNothing` runs the others too: nobody needs to see them run once more."""
    only = unittest.TestSuite()
    for case in tests:
        only.addTests(test for test in case if not isinstance(test, Hostile))
    return only


if __name__ == "__main__":
    unittest.main()
