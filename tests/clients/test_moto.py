"""The same calls to the agent and to moto: what they answer is alike, or docs/lambda.md says how it is not, and why.

A difference that the page does not have fails, and so does a line of the page that no call shows any longer.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest
import urllib.request

import boto3
import botocore.exceptions
import moto
from botocore.config import Config

from agent import Agent, eventually, free_port, zip_of

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "lambda.md"
ACCOUNT = "123456789012"
REGION = "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/jiffy"
KEY_ID, SECRET = "AKIAJIFFYTESTS", "secret"
MISSING = "missing"
# What is another at each call or each server has only its form compared.
FORMS = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000": "(time)",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d": "(time without zone)",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z": "(time of nanoseconds)",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "(revision)",
    r"https?://\S+": "(address)",
    r"[A-Za-z0-9+/]{100,}=*": "(Base64)",
}


class Moto:
    """A server of moto that runs. Stop it: nothing else does."""

    def __init__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env=os.environ | {"MOTO_ACCOUNT_ID": ACCOUNT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(self.takes_no_containers, "moto does not answer", 60)
            iam = boto3.client("iam", **endpoint(self.url))
            iam.create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument="{}")
        except BaseException:
            self.stop()
            raise

    def takes_no_containers(self):
        """Tells it to answer an Invoke by itself."""
        body = json.dumps({"lambda": {"use_docker": False}}).encode()
        try:
            urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/config", body)).close()
        except OSError:
            return False
        return True

    def stop(self):
        self.process.kill()
        self.process.wait()


def endpoint(url):
    return {
        "endpoint_url": url,
        "region_name": REGION,
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "config": Config(retries={"max_attempts": 0}, read_timeout=30, parameter_validation=False),
    }


# Stands for the RevisionId that a server gave last.
REVISION = object()
EVENT = b'{"name": "Ada"}'
STALE = "00000000-0000-0000-0000-000000000000"

CODE = {"ZipFile": zip_of("hello")}
NEW_CODE = {"ZipFile": zip_of("faults")}
NEW = {"FunctionName": "bare", "Runtime": "provided.al2023", "Role": ROLE, "Handler": "bootstrap", "Code": CODE}
FULL = NEW | {
    "FunctionName": "full", "Description": "greets", "Timeout": 7, "MemorySize": 256, "Publish": True,
    "Environment": {"Variables": {"MOOD": "good"}}, "Tags": {"team": "a", "stage": "test"},
    "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512}, "TracingConfig": {"Mode": "PassThrough"},
    "SnapStart": {"ApplyOn": "None"}, "PackageType": "Zip",
}
BARE, F, OTHER, NOBODY = ({"FunctionName": name} for name in ("bare", "full", "other", "nobody"))
FUNCTIONS = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
ARN = f"{FUNCTIONS}full"
PROD = F | {"Name": "prod"}
CORS = {
    "AllowCredentials": True, "AllowHeaders": ["x-a"], "AllowMethods": ["GET"], "AllowOrigins": ["https://a.example"],
    "ExposeHeaders": ["x-b"], "MaxAge": 60,
}

# What is called, in this order: the operation, the case of it, its arguments.
CALLS = [
    ("list_functions", "of none", {}),
    ("create_function", "the least", NEW),
    ("create_function", "the most", FULL),
    ("create_function", "a name that is taken", NEW),
    ("get_function", "", F),
    ("get_function", "without tags", BARE),
    ("get_function", "by ARN", {"FunctionName": ARN}),
    ("get_function", "$LATEST", F | {"Qualifier": "$LATEST"}),
    ("get_function", "a version", F | {"Qualifier": "1"}),
    ("get_function", "a version in the name", {"FunctionName": "full:1"}),
    ("get_function", "nobody", NOBODY),
    ("get_function", "a version that is not", F | {"Qualifier": "9"}),
    ("get_function", "an alias that is not", F | {"Qualifier": "no"}),
    ("get_function", "a qualifier that is none", F | {"Qualifier": "a b"}),
    ("get_function_configuration", "", F),
    ("get_function_configuration", "a version", F | {"Qualifier": "1"}),
    ("get_function_configuration", "nobody", NOBODY),
    ("get_function_configuration", "a version that is not", F | {"Qualifier": "9"}),
    ("list_functions", "", {}),
    ("list_functions", "of all versions", {"FunctionVersion": "ALL"}),
    ("list_functions", "a page of one", {"MaxItems": 1}),
    ("update_function_configuration", "", F | {"Description": "new", "Timeout": 9, "MemorySize": 512}),
    ("update_function_configuration", "variables", F | {"Environment": {"Variables": {"MOOD": "bad", "MORE": "1"}}}),
    ("update_function_configuration", "nobody", NOBODY | {"Timeout": 1}),
    ("get_function_configuration", "after a change", F),
    ("update_function_code", "the same", F | CODE),
    ("update_function_code", "", F | NEW_CODE),
    ("update_function_code", "published", F | CODE | {"Publish": True}),
    ("update_function_code", "nobody", NOBODY | CODE),
    ("get_function_configuration", "after new code", F),
    ("update_function_configuration", "the revision that is", F | {"Timeout": 10, "RevisionId": REVISION}),
    ("publish_version", "", F | {"Description": "third"}),
    ("publish_version", "what is published already", F),
    ("publish_version", "nobody", NOBODY),
    ("list_versions_by_function", "", F),
    ("list_versions_by_function", "a page of one", F | {"MaxItems": 1}),
    ("list_versions_by_function", "nobody", NOBODY),
    ("create_alias", "", PROD | {"FunctionVersion": "1", "Description": "both"}),
    ("create_alias", "of $LATEST", F | {"Name": "head", "FunctionVersion": "$LATEST"}),
    ("create_alias", "with weights", F | {"Name": "two", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}}),
    ("create_alias", "a name that is taken", PROD | {"FunctionVersion": "1"}),
    ("create_alias", "a version that is not", F | {"Name": "new", "FunctionVersion": "9"}),
    ("create_alias", "nobody", NOBODY | {"Name": "new", "FunctionVersion": "1"}),
    ("get_alias", "", PROD),
    ("get_alias", "that is not", F | {"Name": "no"}),
    ("get_alias", "nobody", NOBODY | {"Name": "prod"}),
    ("update_alias", "", PROD | {"FunctionVersion": "2", "Description": "second"}),
    ("update_alias", "weights", PROD | {"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}}),
    ("update_alias", "no weights", PROD | {"RoutingConfig": {}}),
    ("update_alias", "that is not", F | {"Name": "no", "FunctionVersion": "1"}),
    ("list_aliases", "", F),
    ("list_aliases", "of a version", F | {"FunctionVersion": "1"}),
    ("list_aliases", "a page of one", F | {"MaxItems": 1}),
    ("list_aliases", "nobody", NOBODY),
    ("get_function", "an alias", F | {"Qualifier": "prod"}),
    ("get_function", "an alias of $LATEST", F | {"Qualifier": "head"}),
    ("invoke", "", F | {"Payload": EVENT}),
    ("invoke", "an alias", F | {"Qualifier": "head", "Payload": EVENT}),
    ("invoke", "a version", F | {"Qualifier": "2", "Payload": EVENT}),
    ("invoke", "with the log", F | {"LogType": "Tail", "Payload": EVENT}),
    ("invoke", "a dry run", F | {"InvocationType": "DryRun"}),
    ("invoke", "nobody", NOBODY),
    ("invoke", "a version that is not", F | {"Qualifier": "9"}),
    ("list_tags", "", {"Resource": ARN}),
    ("tag_resource", "", {"Resource": ARN, "Tags": {"team": "b", "more": "1"}}),
    ("untag_resource", "", {"Resource": ARN, "TagKeys": ["stage"]}),
    ("list_tags", "after both", {"Resource": ARN}),
    ("list_tags", "nobody", {"Resource": ARN.replace("full", "nobody")}),
    ("tag_resource", "nobody", {"Resource": ARN.replace("full", "nobody"), "Tags": {"a": "b"}}),
    ("untag_resource", "nobody", {"Resource": ARN.replace("full", "nobody"), "TagKeys": ["a"]}),
    ("create_function_url_config", "", F | {"AuthType": "NONE", "Cors": CORS}),
    ("create_function_url_config", "of an alias", F | {"AuthType": "AWS_IAM", "Qualifier": "prod"}),
    ("create_function_url_config", "nobody", NOBODY | {"AuthType": "NONE"}),
    ("get_function_url_config", "", F),
    ("get_function_url_config", "of an alias", F | {"Qualifier": "prod"}),
    ("get_function_url_config", "nobody", NOBODY),
    ("update_function_url_config", "", F | {"AuthType": "AWS_IAM", "Cors": CORS | {"MaxAge": 61}}),
    ("list_function_url_configs", "", F),
    ("delete_function_url_config", "", F),
    ("delete_function_url_config", "of an alias", F | {"Qualifier": "prod"}),
    ("get_function_concurrency", "that is not", F),
    ("put_function_concurrency", "", F | {"ReservedConcurrentExecutions": 5}),
    ("put_function_concurrency", "nobody", NOBODY | {"ReservedConcurrentExecutions": 5}),
    ("get_function_concurrency", "", F),
    ("get_function_concurrency", "nobody", NOBODY),
    ("get_function", "with a concurrency", F),
    ("delete_function_concurrency", "", F),
    ("delete_function_concurrency", "nobody", NOBODY),
    ("put_provisioned_concurrency_config", "", F | {"Qualifier": "1", "ProvisionedConcurrentExecutions": 1}),
    ("get_provisioned_concurrency_config", "", F | {"Qualifier": "1"}),
    ("list_provisioned_concurrency_configs", "", F),
    ("delete_provisioned_concurrency_config", "", F | {"Qualifier": "1"}),
    ("get_account_settings", "", {}),
    ("delete_alias", "", F | {"Name": "two"}),
    ("delete_alias", "that is not", F | {"Name": "two"}),
    ("delete_alias", "nobody", NOBODY | {"Name": "two"}),
    ("get_alias", "that is deleted", F | {"Name": "two"}),
    ("delete_function", "a version", F | {"Qualifier": "3"}),
    ("get_function", "a version that is deleted", F | {"Qualifier": "3"}),
    ("delete_function", "", F),
    ("delete_function", "nobody", NOBODY),
    ("get_function", "that is deleted", F),
    # Of one that is theirs: moto takes much of it, and would answer all that follows otherwise.
    ("create_function", "again", NEW | {"FunctionName": "other", "Publish": True}),
    ("create_alias", "again", OTHER | {"Name": "prod", "FunctionVersion": "1"}),
    ("create_function", "a name with a space", NEW | {"FunctionName": "a b"}),
    ("create_function", "a role that is none", NEW | {"FunctionName": "new-1", "Role": "jiffy"}),
    ("create_function", "no role", {key: value for key, value in NEW.items() if key != "Role"} | {"FunctionName": "new-2"}),
    ("create_function", "a runtime that is none", NEW | {"FunctionName": "new-3", "Runtime": "cobol"}),
    ("create_function", "too long a timeout", NEW | {"FunctionName": "new-4", "Timeout": 901}),
    ("create_function", "too little memory", NEW | {"FunctionName": "new-5", "MemorySize": 1}),
    ("create_function", "a processor that is none", NEW | {"FunctionName": "new-6", "Architectures": ["z80"]}),
    ("create_function", "code that is no zip file", NEW | {"FunctionName": "new-7", "Code": {"ZipFile": b"no zip"}}),
    ("create_function", "a key of a variable with =", NEW | {"FunctionName": "new-8", "Environment": {"Variables": {"A=B": "1"}}}),
    ("get_function", "by partial ARN", {"FunctionName": f"{ACCOUNT}:function:other"}),
    ("list_functions", "MaxItems of 0", {"MaxItems": 0}),
    ("update_function_configuration", "too long a timeout", OTHER | {"Timeout": 901}),
    ("update_function_configuration", "a stale revision", OTHER | {"Timeout": 3, "RevisionId": STALE}),
    ("update_function_code", "a dry run", OTHER | NEW_CODE | {"DryRun": True}),
    ("update_function_code", "no zip file", OTHER | {"ZipFile": b"no zip"}),
    ("update_function_code", "a stale revision", OTHER | NEW_CODE | {"RevisionId": STALE}),
    ("publish_version", "another SHA-256", OTHER | {"CodeSha256": "x"}),
    ("create_alias", "too much weight", OTHER | {"Name": "new", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 1.5}}}),
    ("create_alias", "a number as its name", OTHER | {"Name": "7", "FunctionVersion": "1"}),
    ("update_alias", "a stale revision", OTHER | {"Name": "prod", "FunctionVersion": "1", "RevisionId": STALE}),
    ("create_function_url_config", "a kind of proof that is none", OTHER | {"AuthType": "MAYBE"}),
    ("get_function_url_config", "that is not", OTHER),
    ("update_function_url_config", "that is not", OTHER | {"AuthType": "NONE"}),
    ("delete_function_url_config", "that is not", OTHER),
    ("create_function_url_config", "again", OTHER | {"AuthType": "NONE"}),
    ("create_function_url_config", "that is there", OTHER | {"AuthType": "NONE"}),
    ("put_function_concurrency", "less than nothing", OTHER | {"ReservedConcurrentExecutions": -1}),
    ("delete_function", "$LATEST", OTHER | {"Qualifier": "$LATEST"}),
]


# What a type of botocore's model is in JSON.
TYPES = {
    "structure": dict, "map": dict, "list": list, "string": str, "timestamp": str, "boolean": bool,
    "integer": int, "long": int, "double": (int, float),
}


class Server:
    """One of the two."""

    def __init__(self, url):
        self.aws = boto3.client("lambda", **endpoint(url))
        self.aws.meta.events.register("after-call.lambda", self.keep)
        self.raw = self.revision = None

    def keep(self, http_response, **_):
        self.raw = http_response

    def call(self, operation, arguments):
        """Its status, with the name of the error if it is one, and the document as it came."""
        arguments = {key: self.revision if value is REVISION else value for key, value in arguments.items()}
        try:
            answer = getattr(self.aws, operation)(**arguments)
        except botocore.exceptions.ClientError as error:
            return f"{self.raw.status_code} {error.response['Error']['Code']}", {}
        # The document of an Invoke is the function's; what is Lambda's is in headers.
        if operation == "invoke":
            document = {key: answer[key] for key in ["ExecutedVersion", "FunctionError", "LogResult"] if key in answer}
        else:
            document = json.loads(self.raw.content or "{}")
        self.revision = document.get("RevisionId", self.revision)
        return str(self.raw.status_code), document


def value_of(found):
    """In one word, and for what is another each time only its form."""
    if found is MISSING:
        return MISSING
    if isinstance(found, str):
        for pattern, name in FORMS.items():
            if re.fullmatch(pattern, found):
                return name
        return found.removeprefix(FUNCTIONS)
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return f"{len(found)} of them"
    return json.dumps(found, sort_keys=True)


def member_of(shape, key):
    """The shape of a structure's member, by its name or the one under which it travels."""
    for name, member in (shape.members if shape and shape.type_name == "structure" else {}).items():
        if key in (name, member.serialization.get("name")):
            return member
    return None


def in_table(value):
    """What a page can have between two bars: a value, and of a structure that it is there."""
    return "there" if value.startswith("{") else value


def differences(where, shape, here, there):
    """Yields what differs in two values: the structure and the member, and either value."""
    if isinstance(here, dict) and isinstance(there, dict) and (shape is None or shape.type_name == "structure"):
        name = shape.name if shape else where
        for key in sorted(here.keys() | there.keys()):
            values = here.get(key, MISSING), there.get(key, MISSING)
            yield from differences(f"{name}.{key}", member_of(shape, key), *values)
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for pair in zip(here, there):
            yield from differences(where, shape and shape.member, *pair)
    elif value_of(here) != value_of(there):
        yield where, in_table(value_of(here)), in_table(value_of(there))


def mistyped(where, shape, value):
    """Yields members that botocore's model has not, or has of another type."""
    if shape is None or not isinstance(value, TYPES[shape.type_name]):
        yield where
    elif shape.type_name == "structure":
        for key, inner in value.items():
            yield from mistyped(f"{shape.name}.{key}", member_of(shape, key), inner)
    elif shape.type_name == "list":
        for inner in value:
            yield from mistyped(where, shape.member, inner)


def rows_of_page():
    """What the page says of each difference: what differs, here, in moto; and why."""
    text = PAGE.read_text()
    table = text[text.index("<!-- moto -->") : text.index("<!-- end of moto -->")]
    return {
        tuple(cell.strip("`") for cell in cells[:3]): cells[3]
        for cells in re.findall(r"^\| (`.*?`) \| (`.*?`) \| (`.*?`) \| (.*) \|$", table, re.M)
    }


class Oracle(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        print(f"moto {moto.__version__}, boto3 {boto3.__version__}", flush=True)
        agent = Agent(keys=f"{KEY_ID}:{SECRET}\n", lambda__account_id=ACCOUNT)
        cls.addClassCleanup(agent.stop)
        other = Moto()
        cls.addClassCleanup(other.stop)
        here, there = Server(agent.url), Server(other.url)
        model = here.aws.meta.service_model
        cls.found, cls.mistyped, cls.errors = set(), set(), []
        for call, case, arguments in CALLS:
            operation = here.aws.meta.method_to_api_mapping[call]
            shape = model.operation_model(operation).output_shape
            (status, document), (other_status, other_document) = (server.call(call, arguments) for server in (here, there))
            if status != other_status:
                cls.found.add((f"{operation}, {case}" if case else operation, status, other_status))
            if status.startswith("2"):
                if shape:
                    cls.mistyped |= set(mistyped(operation, shape, document))
            else:
                cls.errors.append((operation, case, here.raw))
            if status[0] == other_status[0] == "2":
                cls.found |= set(differences(operation, shape, document, other_document))

    def test_the_page_has_every_difference_and_no_other(self):
        rows = rows_of_page()
        lines = ["| " + " | ".join(f"`{cell}`" for cell in row) + " |" for row in sorted(self.found - rows.keys())]
        self.assertEqual(lines, [], "docs/lambda.md does not have these")
        self.assertEqual(rows.keys() - self.found, set(), "docs/lambda.md has these, which do not occur")
        self.assertEqual([row for row, why in rows.items() if not why.strip()], [], "docs/lambda.md does not say why")

    def test_answers_are_of_the_model(self):
        self.assertEqual(self.mistyped, set())

    def test_errors_have_the_shape_of_the_api(self):
        for operation, case, raw in self.errors:
            with self.subTest(operation, case=case):
                document = json.loads(raw.content)
                self.assertEqual(document["Type"], "User")
                self.assertTrue(document["Message"])
                self.assertEqual(document["message"], document["Message"])
                self.assertRegex(raw.headers["x-amzn-errortype"], r"^\w+Exception$")


if __name__ == "__main__":
    unittest.main()
