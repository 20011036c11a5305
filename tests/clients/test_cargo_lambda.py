"""`cargo lambda` deploys an image and invokes it. It asks for roles and policies that are not here, or is told not to."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from agent import Agent, image

PROGRAM = pathlib.Path(sys.executable).parent / "cargo-lambda"
KEY_ID, SECRET = "AKIAJIFFYTESTS", "secret"
ROLE = "arn:aws:iam::000000000000:role/jiffy"
MANIFEST = '[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2024"\n'
S_MAX = 60


class CargoLambda(unittest.TestCase):
    def setUp(self):
        self.agent = Agent(keys=f"{KEY_ID}:{SECRET}\n")
        self.addCleanup(self.agent.stop)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        # It wants a package beside the binary, and builds nothing of it.
        self.directory = pathlib.Path(directory.name)
        (self.directory / "Cargo.toml").write_text(MANIFEST)
        (self.directory / "src").mkdir()
        (self.directory / "src" / "main.rs").write_text("fn main() {}\n")
        for example in ["hello", "faults"]:
            (self.directory / example).write_bytes(image(example))

    def run_lambda(self, command, *arguments):
        variables = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            # For every service, so that none is asked elsewhere.
            "AWS_ENDPOINT_URL": self.agent.url,
        }
        return subprocess.run(
            [PROGRAM, "lambda", command, "--endpoint-url", self.agent.url, *arguments],
            cwd=self.directory,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=S_MAX,
        )

    def deploy(self, example, *more):
        run = self.run_lambda("deploy", "--binary-path", example, "--output-format", "json", *more, "hello")
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout[run.stdout.index("{"):])

    def test_it_deploys_again_and_invokes(self):
        first = self.deploy("hello", "--role", ROLE)
        self.assertEqual(first["function_arn"].rpartition(":")[2], "hello", first)
        invoked = self.run_lambda("invoke", "--remote", "--data-ascii", '{"name": "Ada"}', "hello")
        self.assertEqual((invoked.returncode, json.loads(invoked.stdout)), (0, {"greeting": "Hello, Ada!"}))

        settings = ["--timeout", "9", "--memory", "256", "--env-var", "MOOD=good", "--tag", "team=a", "--alias", "prod"]
        self.deploy("faults", "--role", ROLE, *settings)
        function = self.agent.request("GET", "/v1/functions/hello").json()
        self.assertIn("prod", json.dumps(function))
        failed = self.run_lambda("invoke", "--remote", "--alias", "prod", "--data-ascii", '{"kind": "error"}', "hello")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("an error was asked for", failed.stderr)

    def test_what_is_not_here_is_said(self):
        self.deploy("hello", "--role", ROLE)
        # An address that anybody may use needs a policy in Lambda; the address itself is made.
        run = self.run_lambda("deploy", "--binary-path", "faults", "--role", ROLE, "--enable-function-url", "hello")
        self.assertEqual(run.returncode, 1)
        self.assertIn("does not have AddPermission", " ".join(run.stderr.replace("│", "").split()))
        self.deploy("hello", "--role", ROLE, "--disable-function-url")
        # Without a role it wants to make one, with services that are not here.
        run = self.run_lambda("deploy", "--binary-path", "hello", "new")
        self.assertEqual(run.returncode, 1)
        self.assertIn("failed to get caller identity", run.stderr)


if __name__ == "__main__":
    unittest.main()
