// What test_languages.py asks of every language, in JavaScript.
"use strict";

if (process.env.AT_INIT === "raise") throw new RangeError("at init");
if (process.env.AT_INIT === "exit") process.exit(3);

class Broken extends Error {}
Broken.prototype.name = "Broken";

const told = (context) => ({
  request_id: context.awsRequestId,
  function_name: context.functionName,
  function_version: context.functionVersion,
  arn: context.invokedFunctionArn,
  memory_mb: context.memoryLimitInMB,
  log_group: context.logGroupName,
  log_stream: context.logStreamName,
  left_ms: context.getRemainingTimeInMillis(),
  custom: context.clientContext?.custom ?? null,
  client_env: context.clientContext?.env ?? null,
  title: context.clientContext?.client?.app_title ?? null,
});

const actions = {
  echo: (event) => event,
  context: (_, context) => told(context),
  environment: ({ names }) => Object.fromEntries(names.map((name) => [name, process.env[name] ?? null])),
  log: ({ text }) => {
    process.stdout.write(`to stdout: ${text}\n`);
    process.stderr.write(`to stderr: ${text}\n`);
    return null;
  },
  large: ({ size }) => "x".repeat(size),
  raise: ({ message }) => {
    throw new Broken(message);
  },
  cause: () => {
    throw new Broken("outer", { cause: new Error("inner") });
  },
  exit: () => process.exit(3),
  sleep: () => new Promise((resolve) => setTimeout(resolve, 60_000)),
  memory: () => Buffer.alloc(2 ** 31, "x").length,
};

exports.handler = async (event, context) => actions[event.do](event, context);
