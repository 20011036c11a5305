"""The Lambda-compatible API through boto3: the one of the virtual environment, or Debian's."""

import base64
import hashlib
import hmac
import io
import json
import unittest
import zipfile

import boto3
import botocore
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from agent import Agent, eventually, zip_of

KEY_ID, SECRET = "AKIAJIFFYTESTS", "a secret with / + = in it"
ROLE = "arn:aws:iam::000000000000:role/jiffy"
EXAMPLE_EVENT, EXAMPLE_ANSWER = {"name": "Ada"}, {"greeting": "Hello, Ada!"}

agent = None


def setUpModule():
    global agent
    print(f"boto3 {boto3.__version__}, botocore {botocore.__version__}", flush=True)
    agent = Agent(keys=f"{KEY_ID}:{SECRET}\n")


def tearDownModule():
    agent.stop()


def client(key_id=KEY_ID, secret=SECRET, region="us-east-1", **config):
    # A refusal has to come as it is, not after retries.
    config = Config(retries={"max_attempts": 0}, read_timeout=30, **config)
    return boto3.client(
        "lambda",
        endpoint_url=agent.url,
        region_name=region,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=config,
    )


def create(aws, name, example="hello", **more):
    code = {"ZipFile": zip_of(example)}
    return aws.create_function(
        FunctionName=name, Runtime="provided.al2023", Role=ROLE, Handler="bootstrap", Code=code, **more
    )


def payload(result):
    return json.loads(result["Payload"].read())


class Lambda(unittest.TestCase):
    def setUp(self):
        self.aws = client()

    def tearDown(self):
        for page in self.aws.get_paginator("list_functions").paginate():
            for function in page["Functions"]:
                self.aws.delete_function(FunctionName=function["FunctionName"])

    def refused(self, exception, call, /, **arguments):
        """That the call raises this exception, by the name by which the SDK knows it."""
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        error = caught.exception
        self.assertEqual(error.response["Error"]["Code"], exception)
        self.assertTrue(error.response["Error"]["Message"])
        modelled = getattr(self.aws.exceptions, exception, None)
        if modelled:
            self.assertIsInstance(error, modelled)
        return error.response

    def test_a_function_from_its_creation_to_its_end(self):
        made = create(
            self.aws, "hello", MemorySize=129, Timeout=2, Description="greets", Publish=True,
            Environment={"Variables": {"MOOD": "good"}},
        )
        self.assertEqual(made["ResponseMetadata"]["HTTPStatusCode"], 201)
        self.assertEqual(made["FunctionName"], "hello")
        self.assertEqual(made["Version"], "1")
        self.assertEqual(made["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:hello")
        self.assertEqual(made["CodeSize"], len(zip_of("hello")))
        self.aws.get_waiter("function_active").wait(FunctionName="hello")
        self.aws.get_waiter("function_updated").wait(FunctionName="hello")
        self.aws.get_waiter("function_exists").wait(FunctionName="hello")

        found = self.aws.get_function(FunctionName="hello")["Configuration"]
        self.assertEqual(found["Version"], "$LATEST")
        self.assertEqual(found["Timeout"], 2)
        self.assertGreaterEqual(found["MemorySize"], 129)
        self.assertEqual(found["Description"], "greets")
        # Values are shown to those who had to show a token or a signature.
        self.assertEqual(found["Environment"]["Variables"], {"MOOD": "good"})
        self.assertEqual(found["CodeSha256"], made["CodeSha256"])
        self.assertEqual(self.aws.get_function_configuration(FunctionName="hello")["RevisionId"], found["RevisionId"])

        result = self.aws.invoke(FunctionName="hello", Payload=json.dumps(EXAMPLE_EVENT))
        self.assertEqual(result["StatusCode"], 200)
        self.assertEqual(result["ExecutedVersion"], "$LATEST")
        self.assertNotIn("FunctionError", result)
        self.assertEqual(payload(result), EXAMPLE_ANSWER)

        self.refused("ResourceConflictException", create, aws=self.aws, name="hello")
        self.aws.delete_function(FunctionName="hello")
        self.refused("ResourceNotFoundException", self.aws.get_function, FunctionName="hello")
        self.refused("ResourceNotFoundException", self.aws.invoke, FunctionName="hello")
        self.refused("ResourceNotFoundException", self.aws.delete_function, FunctionName="hello")

    def test_every_spelling_of_a_name_is_signed_and_found(self):
        create(self.aws, "hello", Publish=True)
        arn = self.aws.get_function(FunctionName="hello")["Configuration"]["FunctionArn"]
        for name in ["hello", "000000000000:function:hello", arn]:
            for qualified in [{"FunctionName": name}, {"FunctionName": name, "Qualifier": "1"}, {"FunctionName": f"{name}:1"}]:
                result = self.aws.invoke(Payload=json.dumps(EXAMPLE_EVENT), **qualified)
                self.assertEqual(payload(result), EXAMPLE_ANSWER, qualified)

    def test_lists_come_in_pages(self):
        names = [f"page-{index}" for index in range(5)]
        for name in names:
            create(self.aws, name)
        for size, lengths in [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (6, [5])]:
            pages = list(self.aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": size}))
            self.assertEqual([len(page["Functions"]) for page in pages], lengths)
            found = [function["FunctionName"] for page in pages for function in page["Functions"]]
            self.assertEqual(found, names)
        self.aws.publish_version(FunctionName="page-2")
        everything = self.aws.list_functions(FunctionVersion="ALL")["Functions"]
        self.assertEqual(
            [(function["FunctionName"], function["Version"]) for function in everything],
            [(name, "$LATEST") for name in names[:3]] + [("page-2", "1")] + [(name, "$LATEST") for name in names[3:]],
        )

    def test_what_goes_wrong_in_a_function_is_a_result(self):
        create(self.aws, "faults", "faults", Timeout=3)
        for kind, function_error, error_type, in_message in [
            ("error", "Handled", None, "an error was asked for"),
            ("panic", "Unhandled", "Runtime.Panic", "a panic was asked for"),
            ("null-read", "Unhandled", "Runtime.Fault", "0x0"),
            ("oom", "Unhandled", "Runtime.OutOfMemory", "memory"),
            ("spin", "Unhandled", "Sandbox.Timedout", "Task timed out after 3.00 seconds"),
            ("no such kind", "Handled", "BadEvent", "no such kind"),
        ]:
            with self.subTest(kind):
                event = json.dumps({"kind": kind})
                result = self.aws.invoke(FunctionName="faults", Payload=event, LogType="Tail")
                self.assertEqual(result["StatusCode"], 200)
                self.assertEqual(result["FunctionError"], function_error)
                error = payload(result)
                if error_type:
                    self.assertEqual(error["errorType"], error_type)
                self.assertIn(in_message, error["errorMessage"])
                base64.b64decode(result["LogResult"], validate=True)

    def test_the_tail_of_the_log_comes_with_the_result(self):
        create(self.aws, "faults", "faults", Timeout=10)
        event = json.dumps({"kind": "log-flood"})
        result = self.aws.invoke(FunctionName="faults", Payload=event, LogType="Tail")
        tail = base64.b64decode(result["LogResult"], validate=True).decode()
        self.assertIn("of a flood", tail)
        self.assertLessEqual(len(tail), 4096)
        self.assertNotIn("LogResult", self.aws.invoke(FunctionName="faults", Payload=event))

    def test_invocation_types(self):
        create(self.aws, "hello")
        dry = self.aws.invoke(FunctionName="hello", InvocationType="DryRun")
        self.assertEqual(dry["StatusCode"], 204)
        self.assertEqual(dry["Payload"].read(), b"")
        invoke = self.aws.invoke
        self.refused("ResourceNotFoundException", invoke, FunctionName="nobody", InvocationType="DryRun")
        self.refused("ResourceNotFoundException", invoke, FunctionName="hello", Qualifier="7", InvocationType="DryRun")
        refused = self.refused("InvalidParameterValueException", invoke, FunctionName="hello", InvocationType="Event")
        self.assertIn("asynchronous", refused["Error"]["Message"])

    def test_code_configuration_and_versions_change(self):
        first = create(self.aws, "changes", Publish=True)
        latest = self.aws.get_function_configuration(FunctionName="changes")
        update = self.aws.update_function_code
        # What is the same changes nothing.
        for same in [update(FunctionName="changes", ZipFile=zip_of("hello"), Publish=True), first]:
            self.assertEqual((same["Version"], same["RevisionId"]), ("1", first["RevisionId"]))
        second = update(FunctionName="changes", ZipFile=zip_of("faults", "faults.elf"), Publish=True)
        self.assertEqual(second["Version"], "2")
        sha256 = hashlib.sha256(zip_of("faults", "faults.elf")).digest()
        self.assertEqual(second["CodeSha256"], base64.b64encode(sha256).decode())
        self.refused(
            "PreconditionFailedException", update,
            FunctionName="changes", ZipFile=zip_of("hello"), RevisionId=latest["RevisionId"],
        )
        third = self.aws.update_function_configuration(FunctionName="changes", Timeout=7, Description="new")
        self.assertEqual((third["Version"], third["Timeout"], third["Description"]), ("$LATEST", 7, "new"))
        self.assertEqual(third["CodeSha256"], second["CodeSha256"])

        self.refused("InvalidParameterValueException", self.aws.publish_version, FunctionName="changes", CodeSha256="x")
        published = self.aws.publish_version(
            FunctionName="changes", CodeSha256=third["CodeSha256"], Description="a version", RevisionId=third["RevisionId"],
        )
        self.assertEqual(published["ResponseMetadata"]["HTTPStatusCode"], 201)
        self.assertEqual((published["Version"], published["Description"]), ("3", "a version"))
        again = self.aws.publish_version(FunctionName="changes")
        self.assertEqual(again["Version"], "3")

        paginator = self.aws.get_paginator("list_versions_by_function")
        pages = list(paginator.paginate(FunctionName="changes", PaginationConfig={"PageSize": 2}))
        self.assertEqual([len(page["Versions"]) for page in pages], [2, 2])
        versions = [version for page in pages for version in page["Versions"]]
        self.assertEqual([version["Version"] for version in versions], ["$LATEST", "1", "2", "3"])
        self.assertEqual(versions[1]["CodeSha256"], first["CodeSha256"])
        result = self.aws.invoke(FunctionName="changes", Qualifier="1", Payload=json.dumps(EXAMPLE_EVENT))
        self.assertEqual((payload(result), result["ExecutedVersion"]), (EXAMPLE_ANSWER, "1"))
        self.aws.delete_function(FunctionName="changes", Qualifier="1")
        self.refused("ResourceNotFoundException", self.aws.get_function, FunctionName="changes", Qualifier="1")
        # It is what `$LATEST` equals, and that stays.
        self.aws.delete_function(FunctionName="changes", Qualifier="3")
        self.assertEqual(self.aws.get_function_configuration(FunctionName="changes")["Timeout"], 7)

    def test_a_published_version_outlives_what_comes_after_it(self):
        create(self.aws, "stays", Publish=True, Environment={"Variables": {"MOOD": "good"}})
        for number in range(66):
            self.aws.update_function_configuration(FunctionName="stays", Environment={"Variables": {"MOOD": str(number)}})
        versions = self.aws.list_versions_by_function(FunctionName="stays")["Versions"]
        self.assertEqual([version["Version"] for version in versions], ["$LATEST", "1"])
        self.assertEqual(versions[1]["Environment"]["Variables"], {"MOOD": "good"})
        for qualifier in ["$LATEST", "1"]:
            result = self.aws.invoke(FunctionName="stays", Qualifier=qualifier, Payload=json.dumps(EXAMPLE_EVENT))
            self.assertEqual((payload(result), result["ExecutedVersion"]), (EXAMPLE_ANSWER, qualifier))

    def test_a_handler_for_http_reads_the_event_and_answers_in_its_format(self):
        create(self.aws, "webhook", "webhook")
        body = json.dumps({"text": "é"})
        digest = hmac.new(b"It's a Secret to Everybody", body.encode(), "sha256").hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": "push"}
        encoded = {"body": base64.b64encode(body.encode()).decode(), "isBase64Encoded": True}
        plain = {"body": body, "isBase64Encoded": False}
        second = {
            "version": "2.0", "rawPath": "/hooks", "rawQueryString": "a=b", "headers": headers,
            "cookies": ["a=1"], "requestContext": {"http": {"method": "POST", "path": "/hooks"}},
        }
        first = {
            "httpMethod": "POST", "path": "/hooks", "headers": headers, "multiValueHeaders": None,
            "queryStringParameters": {"a": "b"}, "requestContext": {},
        }
        answer = {"statusCode": 202, "body": "accepted\n", "isBase64Encoded": False}
        for event, wanted in [
            (second | plain, answer | {"headers": {"x-event": "push"}}),
            (second | encoded, answer | {"headers": {"x-event": "push"}}),
            (first | plain, answer | {"headers": {"x-event": "push"}, "multiValueHeaders": {"x-event": ["push"]}}),
            (first | encoded, answer | {"headers": {"x-event": "push"}, "multiValueHeaders": {"x-event": ["push"]}}),
        ]:
            result = self.aws.invoke(FunctionName="webhook", Payload=json.dumps(event))
            self.assertEqual(payload(result), wanted)

    def test_an_alias_of_latest_runs_latest(self):
        create(self.aws, "head", Publish=True)
        self.aws.create_alias(FunctionName="head", Name="next", FunctionVersion="$LATEST")
        result = self.aws.invoke(FunctionName="head", Qualifier="next", Payload=json.dumps(EXAMPLE_EVENT))
        self.assertEqual((payload(result), result["ExecutedVersion"]), (EXAMPLE_ANSWER, "$LATEST"))

    def test_an_alias_spreads_requests_by_weight(self):
        create(self.aws, "spread", Publish=True)
        self.aws.update_function_configuration(FunctionName="spread", Description="second")
        self.aws.publish_version(FunctionName="spread")
        alias = self.aws.create_alias(
            FunctionName="spread", Name="prod", FunctionVersion="2", Description="both",
            RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}},
        )
        self.assertTrue(alias["AliasArn"].endswith(":function:spread:prod"))
        self.assertEqual(alias["RoutingConfig"]["AdditionalVersionWeights"], {"1": 0.5})
        self.refused(
            "ResourceConflictException", self.aws.create_alias,
            FunctionName="spread", Name="prod", FunctionVersion="1",
        )
        event = json.dumps(EXAMPLE_EVENT)
        invoke = lambda: self.aws.invoke(FunctionName="spread", Qualifier="prod", Payload=event)["ExecutedVersion"]
        self.assertEqual({invoke() for _ in range(60)}, {"1", "2"})

        update = self.aws.update_alias
        update(FunctionName="spread", Name="prod", RoutingConfig={"AdditionalVersionWeights": {"1": 1.0}})
        self.assertEqual({invoke() for _ in range(20)}, {"1"})
        alone = update(FunctionName="spread", Name="prod", RoutingConfig={"AdditionalVersionWeights": {}})
        self.assertEqual(alone["FunctionVersion"], "2")
        self.assertEqual({invoke() for _ in range(20)}, {"2"})
        self.refused(
            "InvalidParameterValueException", update,
            FunctionName="spread", Name="prod", RoutingConfig={"AdditionalVersionWeights": {"1": 1.5}},
        )
        self.refused("ResourceNotFoundException", update, FunctionName="spread", Name="prod", FunctionVersion="9")

        self.aws.create_alias(FunctionName="spread", Name="test", FunctionVersion="1")
        pages = self.aws.get_paginator("list_aliases").paginate(FunctionName="spread", PaginationConfig={"PageSize": 1})
        self.assertEqual([alias["Name"] for page in pages for alias in page["Aliases"]], ["prod", "test"])
        of_first = self.aws.list_aliases(FunctionName="spread", FunctionVersion="1")["Aliases"]
        self.assertEqual([alias["Name"] for alias in of_first], ["test"])
        self.refused("ResourceConflictException", self.aws.delete_function, FunctionName="spread", Qualifier="1")
        self.aws.delete_alias(FunctionName="spread", Name="prod")
        self.refused("ResourceNotFoundException", self.aws.get_alias, FunctionName="spread", Name="prod")

    def test_reserved_concurrency_throttles(self):
        create(self.aws, "hello")
        concurrency = self.aws.get_function_concurrency
        self.assertNotIn("ReservedConcurrentExecutions", concurrency(FunctionName="hello"))
        self.aws.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=0)
        self.assertEqual(concurrency(FunctionName="hello")["ReservedConcurrentExecutions"], 0)
        found = self.aws.get_function(FunctionName="hello")["Concurrency"]
        self.assertEqual(found["ReservedConcurrentExecutions"], 0)
        refused = self.refused("TooManyRequestsException", self.aws.invoke, FunctionName="hello")
        self.assertEqual(refused["ResponseMetadata"]["HTTPStatusCode"], 429)
        self.assertEqual(refused["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
        self.aws.delete_function_concurrency(FunctionName="hello")
        result = self.aws.invoke(FunctionName="hello", Payload=json.dumps(EXAMPLE_EVENT))
        self.assertEqual(payload(result), EXAMPLE_ANSWER)

    def test_urls_of_functions(self):
        named = {"FunctionName": "echo"}
        create(self.aws, "echo", "echo", Publish=True)
        self.aws.create_alias(Name="prod", FunctionVersion="1", **named)
        cors = {"AllowOrigins": ["*"], "AllowMethods": ["GET"], "MaxAge": 60}
        made = self.aws.create_function_url_config(AuthType="NONE", Cors=cors, **named)
        self.assertEqual(made["ResponseMetadata"]["HTTPStatusCode"], 201)
        self.assertEqual((made["FunctionUrl"], made["AuthType"]), (f"{agent.url}/url/echo/", "NONE"))
        self.assertEqual(made["Cors"], cors)
        self.refused("ResourceConflictException", self.aws.create_function_url_config, AuthType="NONE", **named)
        of_alias = named | {"Qualifier": "prod"}
        self.aws.create_function_url_config(AuthType="AWS_IAM", **of_alias)

        answer = agent.request("GET", "/url/echo/there?a=b")
        self.assertEqual(answer.status, 200)
        event = answer.json()
        self.assertEqual((event["rawPath"], event["queryStringParameters"]), ("/there", {"a": "b"}))
        self.assertEqual(agent.request("GET", "/url/echo:prod/").status, 403)

        changed = self.aws.update_function_url_config(AuthType="NONE", **of_alias)
        self.assertEqual(changed["AuthType"], "NONE")
        self.assertEqual(agent.request("GET", "/url/echo:prod/").status, 200)
        found = self.aws.get_function_url_config(**of_alias)
        self.assertEqual(found["FunctionUrl"], f"{agent.url}/url/echo:prod/")
        paginator = self.aws.get_paginator("list_function_url_configs")
        pages = list(paginator.paginate(PaginationConfig={"PageSize": 1}, **named))
        self.assertEqual([len(page["FunctionUrlConfigs"]) for page in pages], [1, 1])
        urls = {config["FunctionUrl"] for page in pages for config in page["FunctionUrlConfigs"]}
        self.assertEqual(urls, {made["FunctionUrl"], found["FunctionUrl"]})
        for qualified in [named, of_alias]:
            self.aws.delete_function_url_config(**qualified)
            self.refused("ResourceNotFoundException", self.aws.get_function_url_config, **qualified)
        self.assertEqual(agent.request("GET", "/url/echo/").status, 404)

    def test_tags(self):
        arn = create(self.aws, "tagged", Tags={"team": "a", "stage": "test"})["FunctionArn"]
        self.assertEqual(self.aws.list_tags(Resource=arn)["Tags"], {"team": "a", "stage": "test"})
        self.aws.tag_resource(Resource=arn, Tags={"team": "b", "a key": "é/=+"})
        self.aws.untag_resource(Resource=arn, TagKeys=["stage", "nothing"])
        tags = {"team": "b", "a key": "é/=+"}
        self.assertEqual(self.aws.list_tags(Resource=arn)["Tags"], tags)
        self.assertEqual(self.aws.get_function(FunctionName="tagged")["Tags"], tags)
        nobody = arn.replace("tagged", "nobody")
        self.refused("ResourceNotFoundException", self.aws.list_tags, Resource=nobody)

    def test_provisioned_concurrency(self):
        named = {"FunctionName": "hello"}
        create(self.aws, "hello", Publish=True)
        self.aws.create_alias(Name="prod", FunctionVersion="1", **named)
        put, get = self.aws.put_provisioned_concurrency_config, self.aws.get_provisioned_concurrency_config
        missing = "ProvisionedConcurrencyConfigNotFoundException"
        self.refused(missing, get, Qualifier="1", **named)
        for qualifier in ["1", "prod"]:
            asked = put(Qualifier=qualifier, ProvisionedConcurrentExecutions=1, **named)
            self.assertEqual(asked["ResponseMetadata"]["HTTPStatusCode"], 202)
            self.assertEqual(asked["RequestedProvisionedConcurrentExecutions"], 1)
            eventually(lambda: get(Qualifier=qualifier, **named)["Status"] == "READY", "it is not ready")
            found = get(Qualifier=qualifier, **named)
            self.assertEqual(found["AllocatedProvisionedConcurrentExecutions"], 1)
        paginator = self.aws.get_paginator("list_provisioned_concurrency_configs")
        pages = list(paginator.paginate(PaginationConfig={"PageSize": 1}, **named))
        configs = [config for page in pages for config in page["ProvisionedConcurrencyConfigs"]]
        self.assertEqual(len(pages), 2)
        arns = [config["FunctionArn"].rpartition(":")[2] for config in configs]
        self.assertEqual(arns, ["1", "prod"])
        self.refused("InvalidParameterValueException", put, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1, **named)
        for qualifier in ["1", "prod"]:
            self.aws.delete_provisioned_concurrency_config(Qualifier=qualifier, **named)
            self.refused(missing, get, Qualifier=qualifier, **named)

    def test_the_account(self):
        create(self.aws, "hello")
        self.aws.put_function_concurrency(FunctionName="hello", ReservedConcurrentExecutions=100)
        account = self.aws.get_account_settings()
        self.assertEqual(account["AccountUsage"]["FunctionCount"], 1)
        limit = account["AccountLimit"]
        self.assertEqual(limit["ConcurrentExecutions"] - limit["UnreservedConcurrentExecutions"], 100)

    def test_what_cannot_be_is_refused_in_words(self):
        invalid = "InvalidParameterValueException"
        make = self.aws.create_function
        make_of = lambda code, name="bad", **more: dict(
            FunctionName=name, Runtime="provided.al2023", Role=ROLE, Handler="bootstrap", Code=code, **more
        )
        hello = {"ZipFile": zip_of("hello")}
        text = io.BytesIO()
        with zipfile.ZipFile(text, "w") as archive:
            archive.writestr("bootstrap", "#!/bin/sh\n")
        for arguments in [
            make_of(hello, Architectures=["arm64"]),
            make_of(hello, Layers=["arn:aws:lambda:us-east-1:000000000000:layer:one:1"]),
            make_of(hello, VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}),
            make_of(hello, EphemeralStorage={"Size": 1024}),
            make_of(hello, TracingConfig={"Mode": "Active"}),
            make_of(hello, KMSKeyArn="arn:aws:kms:us-east-1:000000000000:key/k"),
            make_of(hello, DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"}),
            make_of(hello) | {"Runtime": "python3.9"},
            make_of({"ZipFile": b"no zip file"}),
            make_of({"ZipFile": text.getvalue()}),
            make_of({"S3Bucket": "bucket", "S3Key": "key"}),
            make_of(hello, name="b" * 65),
            make_of(hello, Timeout=901),
            make_of(hello, MemorySize=8192),
            make_of(hello, Environment={"Variables": {"BIG": "x" * 5000}}),
            make_of(hello, Description="x" * 257),
        ]:
            self.refused(invalid, make, **arguments)
        self.assertEqual(self.aws.list_functions()["Functions"], [])
        create(self.aws, "hello")
        self.refused("RequestTooLargeException", self.aws.invoke, FunctionName="hello", Payload=b" " * (6 << 20) + b"{}")

    def test_a_bomb_is_cut(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("bootstrap", "w", force_zip64=True) as entry:
                for _ in range(80):
                    entry.write(bytes(1 << 20))
        self.refused(
            "RequestTooLargeException", self.aws.create_function,
            FunctionName="bomb", Runtime="provided.al2023", Role=ROLE, Handler="x", Code={"ZipFile": buffer.getvalue()},
        )

    def test_only_who_has_the_secret_gets_in(self):
        create(self.aws, "hello")
        for stranger, code in [
            (client(secret="another"), "InvalidSignatureException"),
            (client(key_id="AKIASTRANGER"), "UnrecognizedClientException"),
            (client(signature_version=UNSIGNED), "MissingAuthenticationTokenException"),
        ]:
            refused = self.refused(code, stranger.invoke, FunctionName="hello", Payload=b"{}")
            self.assertEqual(refused["ResponseMetadata"]["HTTPStatusCode"], 403)
            self.refused(code, stranger.delete_function, FunctionName="hello")
        elsewhere = client(region="eu-central-1")
        refused = self.refused("InvalidSignatureException", elsewhere.list_functions)
        self.assertIn("valid region", refused["Error"]["Message"])

    def test_payloads_are_json(self):
        create(self.aws, "echo", "echo")
        for body in [b'"' + b"x" * (1 << 20) + b'"', b"[1, 2]", b"null"]:
            result = self.aws.invoke(FunctionName="echo", Payload=body)
            self.assertEqual(result["Payload"].read(), body)
        for body in [bytes(range(256)), b"text", b"{"]:
            self.refused("InvalidRequestContentException", self.aws.invoke, FunctionName="echo", Payload=body)

    def test_what_is_not_here_says_so_in_lambdas_shape(self):
        for call, arguments in [
            (self.aws.list_layers, {}),
            (self.aws.list_event_source_mappings, {}),
            (self.aws.get_policy, {"FunctionName": "f"}),
            (self.aws.put_function_event_invoke_config, {"FunctionName": "f", "MaximumRetryAttempts": 0}),
        ]:
            refused = self.refused("NotImplementedException", call, **arguments)
            self.assertEqual(refused["ResponseMetadata"]["HTTPStatusCode"], 501)


if __name__ == "__main__":
    unittest.main()
