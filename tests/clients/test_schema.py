"""schemathesis against `/openapi.json`: no server error, and every answer as the contract says."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

from agent import Agent

CONFIG = pathlib.Path(__file__).parents[2] / "host-agent/schemathesis.toml"
# The same cases each time, unless a seed asks for others.
SEED = os.environ.get("JIFFY_SCHEMA_SEED")
CHOICE = f"--seed={SEED}" if SEED else "--generation-deterministic"
PROGRAM = pathlib.Path(sys.executable).parent / "schemathesis"
EXAMPLES_MAX = 20
S_MAX = 90


class Schema(unittest.TestCase):
    def check(self, agent, *more):
        self.addCleanup(agent.stop)
        agent.deploy("hello", "hello", max_concurrency=4)
        agent.deploy("webhook", "webhook")
        run = subprocess.run(
            [PROGRAM, "--config-file", CONFIG, "run", f"{agent.url}/openapi.json", "--no-color"]
            + [f"--max-examples={EXAMPLES_MAX}", CHOICE, *more],
            cwd=agent.directory.name,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=S_MAX,
        )
        self.assertEqual(run.returncode, 0, run.stdout[-20000:])
        tested = re.search(r"Tested: (\d+)", run.stdout)
        self.assertGreater(int(tested[1]), 20, run.stdout)
        cases = re.search(r"Test cases:\s+(\d+) generated", run.stdout)
        print(f"schemathesis: {tested[1]} operations, {cases[1]} cases", flush=True)

    def test_without_a_token(self):
        self.check(Agent())

    def test_with_a_token(self):
        token = "0123456789abcdef" * 4
        self.check(Agent(token=token), "-H", f"Authorization: Bearer {token}")

    def test_without_the_token_that_is_needed(self):
        """Nothing but 401, and that as the contract says."""
        agent = Agent(token="0123456789abcdef" * 4)
        self.addCleanup(agent.stop)
        for method, path in [("GET", "/v1/functions"), ("POST", "/v1/images"), ("PUT", "/v1/functions/x"),
                             ("POST", "/v1/functions/x/invoke"), ("GET", "/fn/x"), ("GET", "/metrics"),
                             ("GET", "/openapi.json"), ("GET", "/no/such/path")]:
            for authorization in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic eDp5", "Bearer " + "0123456789abcdef" * 3]:
                answer = agent.request(method, path, headers={"Authorization": authorization})
                self.assertEqual(answer.status, 401, (method, path, authorization))
                self.assertEqual(answer.headers["www-authenticate"], 'Bearer realm="jiffy"')
                self.assertEqual(answer.json()["type"], "urn:jiffy:unauthorized")
        self.assertEqual(agent.request("GET", "/v1/health", headers={"Authorization": ""}).status, 200)


if __name__ == "__main__":
    unittest.main()
