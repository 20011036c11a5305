// The Lambda-compatible API through the JavaScript SDK, in short; test_lambda.py asks more. test_javascript.py runs this.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  CreateAliasCommand, CreateFunctionCommand, DeleteFunctionCommand, DeleteFunctionConcurrencyCommand,
  GetFunctionCommand, InvokeCommand, LambdaClient, ListVersionsByFunctionCommand, PublishVersionCommand,
  PutFunctionConcurrencyCommand, ResourceConflictException, ResourceNotFoundException, TooManyRequestsException,
  UpdateFunctionCodeCommand, UpdateFunctionConfigurationCommand, InvalidParameterValueException,
  paginateListFunctions, waitUntilFunctionActiveV2,
} from "@aws-sdk/client-lambda";

const { ENDPOINT: endpoint, KEY_ID: accessKeyId, SECRET: secretAccessKey, ZIP_HELLO, ZIP_FAULTS } = process.env;
const FunctionName = "javascript";
const hello = readFileSync(ZIP_HELLO);
const faults = readFileSync(ZIP_FAULTS);
const client = (secret = secretAccessKey) =>
  new LambdaClient({
    endpoint, region: "us-east-1", maxAttempts: 1, credentials: { accessKeyId, secretAccessKey: secret },
  });
const aws = client();
const create = (name, ZipFile) =>
  aws.send(new CreateFunctionCommand({
    FunctionName: name, Runtime: "provided.al2023", Handler: "bootstrap", Code: { ZipFile }, Timeout: 2,
    Role: "arn:aws:iam::000000000000:role/jiffy",
  }));
const invoke = (event, more = {}) =>
  aws.send(new InvokeCommand({ FunctionName, Payload: JSON.stringify(event), ...more }));
const json = (bytes) => JSON.parse(Buffer.from(bytes).toString());

test("a function from its creation to its end", async () => {
  const made = await create(FunctionName, hello);
  assert.equal(made.$metadata.httpStatusCode, 201);
  assert.equal(made.Version, "$LATEST");
  const waited = await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 10 }, { FunctionName });
  assert.equal(waited.state, "SUCCESS");
  const answer = await invoke({ name: "Ada" }, { LogType: "Tail" });
  assert.deepEqual(json(answer.Payload), { greeting: "Hello, Ada!" });
  assert.equal(answer.ExecutedVersion, "$LATEST");
  assert.equal(answer.FunctionError, undefined);
  assert.equal(typeof answer.LogResult, "string");
  await assert.rejects(create(FunctionName, hello), ResourceConflictException);
  const dry = await invoke({}, { InvocationType: "DryRun" });
  assert.equal(dry.StatusCode, 204);
  await assert.rejects(invoke({}, { InvocationType: "Event" }), InvalidParameterValueException);
});

test("lists come in pages", async () => {
  await create("javascript-2", hello);
  const names = [];
  for await (const page of paginateListFunctions({ client: aws, pageSize: 1 }, {})) {
    names.push(...page.Functions.map((found) => found.FunctionName));
  }
  assert.deepEqual(names, [FunctionName, "javascript-2"]);
  await aws.send(new DeleteFunctionCommand({ FunctionName: "javascript-2" }));
});

test("code, configuration, versions and aliases", async () => {
  await aws.send(new PublishVersionCommand({ FunctionName }));
  await aws.send(new UpdateFunctionConfigurationCommand({ FunctionName, Description: "second" }));
  const updated = await aws.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: faults }));
  assert.equal(updated.Description, "second");
  const published = await aws.send(new PublishVersionCommand({ FunctionName }));
  assert.equal(published.Version, "2");
  const { Versions } = await aws.send(new ListVersionsByFunctionCommand({ FunctionName }));
  assert.deepEqual(Versions.map((version) => version.Version), ["$LATEST", "1", "2"]);
  const weights = { AdditionalVersionWeights: { 2: 0.25 } };
  const alias = await aws.send(
    new CreateAliasCommand({ FunctionName, Name: "prod", FunctionVersion: "1", RoutingConfig: weights }),
  );
  assert.deepEqual(alias.RoutingConfig, weights);
  // The weight decides by chance: both versions answer in the end, each in its own way.
  const seen = new Set();
  for (let round = 0; round < 500 && seen.size < 2; round++) {
    const answer = await invoke({ name: "Ada" }, { Qualifier: "prod" });
    assert.match(answer.ExecutedVersion, /^[12]$/);
    if (answer.ExecutedVersion === "1") {
      assert.deepEqual(json(answer.Payload), { greeting: "Hello, Ada!" });
    } else {
      assert.equal(json(answer.Payload).errorType, "BadEvent");
    }
    seen.add(answer.ExecutedVersion);
  }
  assert.deepEqual([...seen].sort(), ["1", "2"]);
});

test("what goes wrong in a function is a result", async () => {
  for (const [kind, error, text] of [
    ["error", "Handled", "an error was asked for"],
    ["panic", "Unhandled", "a panic was asked for"],
    ["spin", "Unhandled", "timed out"],
  ]) {
    const answer = await invoke({ kind });
    assert.equal(answer.StatusCode, 200);
    assert.equal(answer.FunctionError, error, kind);
    assert.ok(json(answer.Payload).errorMessage.includes(text), kind);
  }
});

test("reserved concurrency throttles", async () => {
  await aws.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 0 }));
  await assert.rejects(invoke({}), (error) => {
    assert.ok(error instanceof TooManyRequestsException);
    assert.equal(error.Reason, "ReservedFunctionConcurrentInvocationLimitExceeded");
    assert.ok(error.message);
    return true;
  });
  await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName }));
});

test("only who has the secret gets in", async () => {
  await assert.rejects(client("another").send(new GetFunctionCommand({ FunctionName })), (error) => {
    assert.equal(error.name, "InvalidSignatureException");
    assert.equal(error.$metadata.httpStatusCode, 403);
    return true;
  });
});

test("its end", async () => {
  await aws.send(new DeleteFunctionCommand({ FunctionName }));
  await assert.rejects(aws.send(new GetFunctionCommand({ FunctionName })), ResourceNotFoundException);
  await assert.rejects(invoke({}), ResourceNotFoundException);
});
