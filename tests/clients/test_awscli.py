"""The command lines of AWS: version 1 of PyPI and version 2 of Debian, each told its endpoint and nothing else.

They differ in how they take a payload: version 1 as it is, version 2 in Base64 unless it is told otherwise.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from agent import Agent, eventually, zip_of

VERSION_1 = pathlib.Path(sys.executable).parent / "aws"
VERSION_2 = pathlib.Path("/usr/bin/aws")
KEY_ID, SECRET, TOKEN = "AKIAJIFFYTESTS", "secret", "token-of-the-tests-of-the-command-line"
ROLE = "arn:aws:iam::000000000000:role/jiffy"
EVENT, GREETING = '{"name": "Ada"}', {"greeting": "Hello, Ada!"}
S_MAX = 60
REFUSAL = r"An error occurred \({}\) when calling the {} operation( \(reached max retries: 0\))?: \S"
# What both versions exit with when the service refuses; and when the client itself does.
REFUSED = {VERSION_1: 255, VERSION_2: 254}
USAGE = {VERSION_1: 2, VERSION_2: 252}

agent = None


def setUpModule():
    global agent
    agent = Agent(token=TOKEN, keys=f"{KEY_ID}:{SECRET}\n")


def tearDownModule():
    agent.stop()


class CommandLine:
    """What both have to do; `program` says which it is."""

    program = None

    @classmethod
    def setUpClass(cls):
        shown = subprocess.run([cls.program, "--version"], capture_output=True, text=True, check=True)
        print((shown.stdout + shown.stderr).strip(), flush=True)

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        for example in ["hello", "faults"]:
            (self.directory / f"{example}.zip").write_bytes(zip_of(example))

    def tearDown(self):
        for function in agent.request("GET", "/v1/functions").json()["functions"]:
            agent.request("DELETE", f"/v1/functions/{function['name']}")

    def run_lambda(self, *arguments):
        variables = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
            # Its files of configuration are not there.
            "HOME": str(self.directory),
        }
        return subprocess.run(
            [self.program, "lambda", "--endpoint-url", agent.url, "--output", "json", *arguments],
            cwd=self.directory,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=S_MAX,
        )

    def lambda_(self, *arguments):
        """The document that a command prints."""
        run = self.run_lambda(*arguments)
        self.assertEqual(run.returncode, 0, f"{arguments}: {run.stderr}")
        return json.loads(run.stdout or "{}")

    def refused(self, exception, operation, *arguments):
        """That the service refuses, and that the user is told by whom, what and why."""
        run = self.run_lambda(*arguments)
        self.assertEqual(run.returncode, REFUSED[self.program], run.stderr)
        self.assertRegex(run.stderr, REFUSAL.format(exception, operation))
        self.assertEqual(run.stdout, "")

    def create(self, name, *more, example="hello"):
        return self.lambda_(
            "create-function", "--function-name", name, "--runtime", "provided.al2023", "--handler", "bootstrap",
            "--role", ROLE, "--zip-file", f"fileb://{example}.zip", *more,
        )

    def invoke(self, name, *more):
        """The result, and what the function answered."""
        answer = self.directory / "answer.json"
        result = self.lambda_("invoke", "--function-name", name, *more, str(answer))
        return result, json.loads(answer.read_text())

    def of_event(self, event):
        """How this version is given a payload."""
        raise NotImplementedError

    def test_a_function_from_its_creation_to_its_end(self):
        named = ["--function-name", "hello"]
        made = self.create("hello", "--timeout", "5", "--environment", "Variables={MOOD=good}", "--publish")
        self.assertEqual((made["Version"], made["State"], made["Timeout"]), ("1", "Active", 5))
        self.assertEqual(made["CodeSize"], len(zip_of("hello")))
        for waiter in ["function-active-v2", "function-updated"]:
            self.assertEqual(self.lambda_("wait", waiter, *named), {})
        self.assertEqual(self.invoke("hello", *self.of_event(EVENT))[1], GREETING)
        changed = self.lambda_("update-function-configuration", *named, "--timeout", "7", "--description", "greets")
        self.assertEqual((changed["Timeout"], changed["Description"]), (7, "greets"))
        self.assertEqual(changed["Environment"]["Variables"], {"MOOD": "good"})
        coded = self.lambda_("update-function-code", *named, "--zip-file", "fileb://faults.zip")
        self.assertNotEqual(coded["CodeSha256"], made["CodeSha256"])
        self.assertEqual(self.lambda_("get-function", *named)["Configuration"]["CodeSha256"], coded["CodeSha256"])
        self.lambda_("delete-function", *named)
        self.refused("ResourceNotFoundException", "GetFunction", "get-function", *named)

    def test_the_tail_of_the_log(self):
        self.create("faults", example="faults")
        result, answer = self.invoke("faults", "--log-type", "Tail", *self.of_event('{"kind": "panic"}'))
        self.assertEqual((result["StatusCode"], result["FunctionError"]), (200, "Unhandled"))
        self.assertEqual(answer["errorType"], "Runtime.Panic")
        self.assertIn("a panic was asked for", base64.b64decode(result["LogResult"], validate=True).decode())

    def test_refusals(self):
        self.create("hello")
        create = ["create-function", "--function-name", "hello", "--runtime", "provided.al2023", "--handler", "bootstrap"]
        create += ["--role", ROLE, "--zip-file", "fileb://hello.zip"]
        self.refused("ResourceConflictException", "CreateFunction", *create)
        timeout = ["update-function-configuration", "--function-name", "hello", "--timeout", "901"]
        self.refused("InvalidParameterValueException", "UpdateFunctionConfiguration", *timeout)
        self.refused("NotImplementedException", "ListLayers", "list-layers")
        self.refused("ResourceNotFoundException", "Invoke", "invoke", "--function-name", "nobody", "answer.json")
        self.refused("InvalidRequestContentException", "Invoke", "invoke", "--function-name", "hello", *self.of_event("{"), "answer.json")
        usage = self.run_lambda("delete-function")
        self.assertEqual(usage.returncode, USAGE[self.program])
        self.assertIn("--function-name", usage.stderr)

    def test_lists_in_pages(self):
        names = [f"page-{index}" for index in range(3)]
        for name in names:
            self.create(name)
        everything = self.lambda_("list-functions", "--page-size", "1")
        self.assertEqual([function["FunctionName"] for function in everything["Functions"]], names)
        first = self.lambda_("list-functions", "--max-items", "2", "--page-size", "2")
        self.assertEqual([function["FunctionName"] for function in first["Functions"]], names[:2])
        rest = self.lambda_("list-functions", "--max-items", "2", "--starting-token", first["NextToken"])
        self.assertEqual([function["FunctionName"] for function in rest["Functions"]], names[2:])
        self.assertNotIn("NextToken", rest)

    def test_versions_and_aliases(self):
        named = ["--function-name", "spread"]
        self.create("spread", "--publish")
        self.lambda_("update-function-configuration", *named, "--description", "second")
        self.assertEqual(self.lambda_("publish-version", *named)["Version"], "2")
        latest = self.lambda_("get-function-configuration", *named)
        self.assertEqual((latest["Version"], latest["Description"]), ("$LATEST", "second"))
        versions = self.lambda_("list-versions-by-function", *named)["Versions"]
        self.assertEqual([version["Version"] for version in versions], ["$LATEST", "1", "2"])
        prod = [*named, "--name", "prod"]
        alias = self.lambda_("create-alias", *prod, "--function-version", "1")
        self.assertEqual((alias["FunctionVersion"], "RoutingConfig" in alias), ("1", False))
        alias = self.lambda_("update-alias", *prod, "--routing-config", 'AdditionalVersionWeights={2=0.5}')
        self.assertEqual(alias["RoutingConfig"]["AdditionalVersionWeights"], {"2": 0.5})
        self.assertEqual(self.lambda_("get-alias", *prod), alias)
        self.assertEqual(self.lambda_("list-aliases", *named)["Aliases"], [alias])
        result, answer = self.invoke("spread", "--qualifier", "prod", *self.of_event(EVENT))
        self.assertIn(result["ExecutedVersion"], ["1", "2"])
        self.assertEqual(answer, GREETING)
        self.lambda_("delete-alias", *prod)
        self.refused("ResourceNotFoundException", "GetAlias", "get-alias", *prod)

    def test_tags_addresses_and_concurrency(self):
        named = ["--function-name", "rest"]
        resource = ["--resource", self.create("rest", "--tags", "team=a")["FunctionArn"]]
        self.lambda_("tag-resource", *resource, "--tags", "stage=test")
        self.lambda_("untag-resource", *resource, "--tag-keys", "team")
        self.assertEqual(self.lambda_("list-tags", *resource)["Tags"], {"stage": "test"})

        made = self.lambda_("create-function-url-config", *named, "--auth-type", "NONE", "--cors", "AllowOrigins=*,MaxAge=60")
        self.assertEqual(made["FunctionUrl"], f"{agent.url}/url/rest/")
        self.assertEqual(made["Cors"], {"AllowOrigins": ["*"], "MaxAge": 60})
        changed = self.lambda_("update-function-url-config", *named, "--auth-type", "AWS_IAM")
        self.assertEqual((changed["AuthType"], changed["Cors"]), ("AWS_IAM", made["Cors"]))
        found = self.lambda_("get-function-url-config", *named)
        self.assertEqual((found["FunctionUrl"], found["AuthType"]), (made["FunctionUrl"], "AWS_IAM"))
        self.assertEqual(len(self.lambda_("list-function-url-configs", *named)["FunctionUrlConfigs"]), 1)
        self.lambda_("delete-function-url-config", *named)
        self.refused("ResourceNotFoundException", "GetFunctionUrlConfig", "get-function-url-config", *named)

        reserved = {"ReservedConcurrentExecutions": 0}
        self.assertEqual(
            self.lambda_("put-function-concurrency", *named, "--reserved-concurrent-executions", "0"), reserved,
        )
        self.assertEqual(self.lambda_("get-function-concurrency", *named), reserved)
        self.refused("TooManyRequestsException", "Invoke", "invoke", *named, "answer.json")
        self.lambda_("delete-function-concurrency", *named)
        self.assertEqual(self.invoke("rest", *self.of_event(EVENT))[1], GREETING)
        self.assertGreater(self.lambda_("get-account-settings")["AccountUsage"]["FunctionCount"], 0)

    def test_provisioned_concurrency(self):
        named = ["--function-name", "ready"]
        self.create("ready", "--publish")
        of_version = [*named, "--qualifier", "1"]
        asked = self.lambda_("put-provisioned-concurrency-config", *of_version, "--provisioned-concurrent-executions", "1")
        self.assertEqual(asked["RequestedProvisionedConcurrentExecutions"], 1)
        get = ["get-provisioned-concurrency-config", *of_version]
        eventually(lambda: self.lambda_(*get)["Status"] == "READY", "it is not ready", S_MAX)
        listed = self.lambda_("list-provisioned-concurrency-configs", *named)["ProvisionedConcurrencyConfigs"]
        self.assertEqual([config["FunctionArn"].rpartition(":")[2] for config in listed], ["1"])
        self.lambda_("delete-provisioned-concurrency-config", *of_version)
        missing = "ProvisionedConcurrencyConfigNotFoundException"
        self.refused(missing, "GetProvisionedConcurrencyConfig", *get)


class Version1(CommandLine, unittest.TestCase):
    program = VERSION_1

    def of_event(self, event):
        return ["--payload", event]


class Version2(CommandLine, unittest.TestCase):
    program = VERSION_2

    def of_event(self, event):
        return ["--payload", base64.b64encode(event.encode()).decode()]

    def test_a_payload_as_it_is(self):
        self.create("hello")
        raw = ["--cli-binary-format", "raw-in-base64-out", "--payload", EVENT]
        self.assertEqual(self.invoke("hello", *raw)[1], GREETING)


if __name__ == "__main__":
    unittest.main()
