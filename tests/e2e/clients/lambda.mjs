// One function's life through @aws-sdk/client-lambda. Argument: JSON with endpoint, key, secret, name, zip (a path),
// runtime, handler and event. Answers on standard output with one JSON document of what it saw.

import { readFileSync } from "node:fs";
import {
  CreateFunctionCommand,
  DeleteFunctionCommand,
  GetFunctionCommand,
  InvokeCommand,
  LambdaClient,
  waitUntilFunctionActiveV2,
} from "@aws-sdk/client-lambda";

const { endpoint, key, secret, name, zip, runtime, handler, event } = JSON.parse(process.argv[2]);
const client = new LambdaClient({
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: key, secretAccessKey: secret },
  maxAttempts: 1,
});
const FunctionName = name;
const created = await client.send(
  new CreateFunctionCommand({
    FunctionName,
    Runtime: runtime,
    Handler: handler,
    Role: "arn:aws:iam::000000000000:role/lambda",
    Code: { ZipFile: readFileSync(zip) },
  }),
);
await waitUntilFunctionActiveV2({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 }, { FunctionName });
const answer = await client.send(new InvokeCommand({ FunctionName, Payload: JSON.stringify(event), LogType: "Tail" }));
const failed = await client.send(new InvokeCommand({ FunctionName, Payload: '{"fail":true}' }));
const conflict = await client
  .send(new CreateFunctionCommand({ FunctionName, Runtime: runtime, Handler: handler, Role: created.Role, Code: { ZipFile: readFileSync(zip) } }))
  .catch((error) => error.name);
await client.send(new DeleteFunctionCommand({ FunctionName }));
const gone = await client.send(new GetFunctionCommand({ FunctionName })).catch((error) => error.name);
const text = (bytes) => Buffer.from(bytes).toString();
console.log(
  JSON.stringify({
    arn: created.FunctionArn,
    status: answer.StatusCode,
    payload: JSON.parse(text(answer.Payload)),
    log: text(Buffer.from(answer.LogResult, "base64")),
    error: failed.FunctionError,
    message: JSON.parse(text(failed.Payload)).errorMessage,
    conflict,
    gone,
  }),
);
