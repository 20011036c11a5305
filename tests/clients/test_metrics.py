"""What the agent exposes to Prometheus, as `promtool` and Prometheus' own client read it."""

import subprocess
import time
import unittest

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent import Agent

COUNTED_WITHIN_S = 10
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
OUTCOMES = {"error": 500, "panic": 500, "null-read": 500, "no such kind": 400}


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.agent = Agent()
        cls.addClassCleanup(cls.agent.stop)
        # Names that stretch what a label may hold.
        for name in ["hello", "a" * 64, "-_-", "0"]:
            cls.agent.deploy(name, "hello")
            for _ in range(3):
                assert cls.agent.invoke(name, b'{"name":"Ada"}').status == 200
        cls.agent.deploy("faults", "faults")
        for kind, status in OUTCOMES.items():
            assert cls.agent.invoke("faults", {"kind": kind}).status == status, kind
        # Requests are counted behind their responses.
        until = time.monotonic() + COUNTED_WITHIN_S
        while b'function="faults"' not in cls.agent.request("GET", "/metrics").body:
            assert time.monotonic() < until, "the last requests are not counted"
            time.sleep(0.01)

    def scrape(self, accept=None):
        scraped = self.agent.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
        self.assertEqual(scraped.status, 200)
        return scraped.headers["content-type"], scraped.body.decode()

    def test_promtool_has_nothing_to_say(self):
        # As curl asks, as nobody asks, as an old scraper asks.
        for accept in ["*/*", None, "text/plain"]:
            kind, text = self.scrape(accept)
            self.assertTrue(kind.startswith("text/plain"), kind)
            run = subprocess.run(
                ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
            )
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""), accept)

    def test_every_metric_has_help_and_a_type(self):
        for accept, parse in [(OPENMETRICS, parse_openmetrics), ("text/plain", parse_text)]:
            for family in parse(self.scrape(accept)[1]):
                self.assertTrue(family.name.startswith("jiffy_"), family.name)
                self.assertTrue(family.documentation, family.name)
                self.assertNotEqual(family.type, "unknown", family.name)

    def test_openmetrics_is_there_for_who_asks(self):
        kind, text = self.scrape(OPENMETRICS)
        self.assertTrue(kind.startswith("application/openmetrics-text"), kind)
        self.assertTrue(text.endswith("# EOF\n"))
        families = {family.name: family for family in parse_openmetrics(text)}
        functions = {
            sample.labels["function"]
            for family in families.values()
            for sample in family.samples
            if "function" in sample.labels
        }
        self.assertLessEqual({"hello", "a" * 64, "-_-", "0", "faults"}, functions)

    def test_what_prometheus_itself_asks_for(self):
        accept = (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        )
        kind, _ = self.scrape(accept)
        self.assertTrue(kind.startswith("application/openmetrics-text"), kind)

    def test_both_say_the_same(self):
        openmetrics = {family.name: family.type for family in parse_openmetrics(self.scrape(OPENMETRICS)[1])}
        text = {family.name: family.type for family in parse_text(self.scrape("text/plain")[1])}
        self.assertEqual(openmetrics.keys(), text.keys())
        self.assertIn("histogram", text.values())
        self.assertIn("counter", text.values())
        self.assertIn("gauge", text.values())


if __name__ == "__main__":
    unittest.main()
