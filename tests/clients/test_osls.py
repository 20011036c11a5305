"""osls, the Serverless Framework as it goes on: what needs only Lambda works. `osls deploy` asks CloudFormation first.

Its package is in `JIFFY_NODE`.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import boto3

from agent import Agent, zip_of

PROGRAM = pathlib.Path(os.environ["JIFFY_NODE"]) / "node_modules" / ".bin" / "osls"
KEY_ID, SECRET, REGION = "AKIAJIFFYTESTS", "secret", "us-east-1"
ROLE = "arn:aws:iam::000000000000:role/jiffy"
SERVICE = f"""
service: greetings
provider:
  name: aws
  runtime: provided.al2023
  region: {REGION}
package:
  artifact: hello.zip
functions:
  hello:
    name: hello
    handler: bootstrap
    role: {ROLE}
"""
S_MAX = 60


class Osls(unittest.TestCase):
    def setUp(self):
        self.agent = Agent(keys=f"{KEY_ID}:{SECRET}\n")
        self.addCleanup(self.agent.stop)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        (self.directory / "serverless.yml").write_text(SERVICE)
        (self.directory / "hello.zip").write_bytes(zip_of("hello"))

    def run_osls(self, *arguments):
        variables = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            # For every service, so that none is asked elsewhere.
            "AWS_ENDPOINT_URL": self.agent.url,
            "HOME": str(self.directory),
            "SLS_TELEMETRY_DISABLED": "1",
            "SLS_NOTIFICATIONS_MODE": "off",
        }
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.directory,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=S_MAX,
        )

    def test_a_function_that_is_there_is_deployed_and_invoked(self):
        aws = boto3.client(
            "lambda", endpoint_url=self.agent.url, region_name=REGION,
            aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
        )
        aws.create_function(
            FunctionName="hello", Runtime="provided.al2023", Role=ROLE, Handler="bootstrap",
            Code={"ZipFile": zip_of("faults")},
        )
        deployed = self.run_osls("deploy", "function", "--function", "hello")
        self.assertEqual(deployed.returncode, 0, deployed.stdout + deployed.stderr)
        invoked = self.run_osls("invoke", "--function", "hello", "--data", '{"name": "Ada"}')
        self.assertEqual(invoked.returncode, 0, invoked.stdout + invoked.stderr)
        self.assertEqual(json.loads(invoked.stdout), {"greeting": "Hello, Ada!"})

    def test_a_stack_is_refused(self):
        deployed = self.run_osls("deploy")
        self.assertEqual(deployed.returncode, 1)
        self.assertIn("Stack greetings-dev failed to deploy", deployed.stdout + deployed.stderr)
        # What it asked first: it shows a user only that this was no XML.
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.agent.request("POST", "/", b"Action=DescribeStacks&Version=2010-05-15", form)
        self.assertEqual(answer.status, 404, answer.body)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")


if __name__ == "__main__":
    unittest.main()
