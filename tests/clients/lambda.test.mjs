// The Lambda-compatible API through the JavaScript SDK, in short; test_lambda.py asks more. test_javascript.py runs this.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  CreateAliasCommand, CreateFunctionCommand, CreateFunctionUrlConfigCommand, DeleteAliasCommand, DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand, DeleteFunctionUrlConfigCommand, DeleteProvisionedConcurrencyConfigCommand,
  GetAccountSettingsCommand, GetAliasCommand, GetFunctionCommand, GetFunctionConcurrencyCommand,
  GetFunctionConfigurationCommand, GetFunctionUrlConfigCommand, GetProvisionedConcurrencyConfigCommand, InvokeCommand,
  LambdaClient, ListAliasesCommand, ListTagsCommand, ListVersionsByFunctionCommand, PublishVersionCommand,
  PutFunctionConcurrencyCommand, PutProvisionedConcurrencyConfigCommand, ResourceConflictException,
  ProvisionedConcurrencyConfigNotFoundException, ResourceNotFoundException, TagResourceCommand,
  TooManyRequestsException, UntagResourceCommand, UpdateAliasCommand, UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand, UpdateFunctionUrlConfigCommand, InvalidParameterValueException,
  paginateListFunctionUrlConfigs, paginateListFunctions, paginateListProvisionedConcurrencyConfigs,
  waitUntilFunctionActiveV2,
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
  const latest = await aws.send(new GetFunctionConfigurationCommand({ FunctionName }));
  assert.deepEqual([latest.Version, latest.Description], ["$LATEST", "second"]);
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
  const found = await aws.send(new GetAliasCommand({ FunctionName, Name: "prod" }));
  assert.deepEqual([found.AliasArn, found.RoutingConfig], [alias.AliasArn, weights]);
  const changed = await aws.send(
    new UpdateAliasCommand({ FunctionName, Name: "prod", FunctionVersion: "2", RoutingConfig: {} }),
  );
  assert.equal(changed.FunctionVersion, "2");
  const { Aliases } = await aws.send(new ListAliasesCommand({ FunctionName, FunctionVersion: "2" }));
  assert.deepEqual(Aliases.map((one) => one.Name), ["prod"]);
  await aws.send(new DeleteAliasCommand({ FunctionName, Name: "prod" }));
  await assert.rejects(aws.send(new GetAliasCommand({ FunctionName, Name: "prod" })), ResourceNotFoundException);
});

test("URLs of functions", async () => {
  const Cors = { AllowOrigins: ["*"], MaxAge: 60 };
  const made = await aws.send(new CreateFunctionUrlConfigCommand({ FunctionName, AuthType: "NONE", Cors }));
  assert.equal(made.FunctionUrl, `${endpoint}/url/${FunctionName}/`);
  assert.deepEqual([made.AuthType, made.Cors], ["NONE", Cors]);
  const changed = await aws.send(new UpdateFunctionUrlConfigCommand({ FunctionName, AuthType: "AWS_IAM" }));
  assert.deepEqual([changed.AuthType, changed.Cors], ["AWS_IAM", made.Cors]);
  assert.equal((await fetch(made.FunctionUrl)).status, 403);
  const found = await aws.send(new GetFunctionUrlConfigCommand({ FunctionName }));
  assert.equal(found.FunctionUrl, made.FunctionUrl);
  const urls = [];
  for await (const page of paginateListFunctionUrlConfigs({ client: aws, pageSize: 1 }, { FunctionName })) {
    urls.push(...page.FunctionUrlConfigs.map((one) => one.FunctionUrl));
  }
  assert.deepEqual(urls, [made.FunctionUrl]);
  await aws.send(new DeleteFunctionUrlConfigCommand({ FunctionName }));
  await assert.rejects(aws.send(new GetFunctionUrlConfigCommand({ FunctionName })), ResourceNotFoundException);
});

test("tags and the account", async () => {
  const { Configuration } = await aws.send(new GetFunctionCommand({ FunctionName }));
  const Resource = Configuration.FunctionArn;
  await aws.send(new TagResourceCommand({ Resource, Tags: { team: "a", stage: "test" } }));
  await aws.send(new UntagResourceCommand({ Resource, TagKeys: ["team"] }));
  assert.deepEqual((await aws.send(new ListTagsCommand({ Resource }))).Tags, { stage: "test" });
  const account = await aws.send(new GetAccountSettingsCommand({}));
  assert.equal(account.AccountUsage.FunctionCount, 1);
});

test("provisioned concurrency", async () => {
  const of = { FunctionName, Qualifier: "1" };
  const asked = await aws.send(
    new PutProvisionedConcurrencyConfigCommand({ ...of, ProvisionedConcurrentExecutions: 1 }),
  );
  assert.equal(asked.RequestedProvisionedConcurrentExecutions, 1);
  const get = () => aws.send(new GetProvisionedConcurrencyConfigCommand(of));
  for (let round = 0; round < 500 && (await get()).Status !== "READY"; round++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal((await get()).AllocatedProvisionedConcurrentExecutions, 1);
  const arns = [];
  for await (const page of paginateListProvisionedConcurrencyConfigs({ client: aws, pageSize: 1 }, { FunctionName })) {
    arns.push(...page.ProvisionedConcurrencyConfigs.map((one) => one.FunctionArn));
  }
  assert.equal(arns.length, 1);
  assert.ok(arns[0].endsWith(`:function:${FunctionName}:1`));
  await aws.send(new DeleteProvisionedConcurrencyConfigCommand(of));
  await assert.rejects(get(), ProvisionedConcurrencyConfigNotFoundException);
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
  const found = await aws.send(new GetFunctionConcurrencyCommand({ FunctionName }));
  assert.equal(found.ReservedConcurrentExecutions, 0);
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
