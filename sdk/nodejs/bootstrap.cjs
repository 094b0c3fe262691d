// Runs Node.js functions on Hearth: loads the handler, then serves one invocation after the other.
//
// Started in one of two ways:
// - before any function is known (HEARTH_INIT_FD names a socket): everything needed is imported, "ready" is written to
//   the socket, and the rest waits for the one JSON document that the shim sends, and then closes with:
//   {"environment": {…}, "handler": "index.handler", "taskRoot": "/var/task", "cloned": false}; AWS_LAMBDA_RUNTIME_API
//   is the same before and after; "cloned" says that other processes may have been restored from the same snapshot as
//   this one, so that random numbers and clocks have to begin anew; if a function already waits for the sandbox (HEARTH_WANTED), nothing is warmed up, nothing written;
// - for a known function (no HEARTH_INIT_FD): handler and task root are in the environment.
//
// What functions see (handler lookup, context, callbacks, error documents, log lines) is what AWS Lambda's managed Node.js
// runtimes show them: AWS Lambda developer guide, "Building Lambda functions with Node.js".
//
// Invariants: Node.js 18 or later, no dependency; CommonJS, because the loader of ES modules takes 5 ms to start; one connection to the Runtime API, one request at a time on it; the
// connection keeps the event loop alive only while a request runs, so that an empty loop means what AWS means by it.

"use strict";

const fs = require("node:fs");
const Module = require("node:module");
const net = require("node:net");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const util = require("node:util");

const API = "/2018-06-01/runtime";
const PING = "/2018-06-01/ping";
const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type";
const ERROR_BODY = "Lambda-Runtime-Function-Error-Body";
const HEAD_END = Buffer.from("\r\n\r\n");
const HEAD_MAX_BYTES = 1024 * 1024;
const INIT_CHUNK_BYTES = 64 * 1024;
const WARM_UP_ROUNDS = 2;
const EXIT_UNCAUGHT_EXCEPTION = 129;
const EXIT_UNHANDLED_REJECTION = 128;
const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");

// --- Errors ---------------------------------------------------------------------------------------------------------

class RuntimeFault extends Error {}
const fault = (name) => {
  const type = { [name]: class extends RuntimeFault {} }[name];
  type.prototype.name = `Runtime.${name}`;
  return type;
};
const ImportModuleError = fault("ImportModuleError");
const HandlerNotFound = fault("HandlerNotFound");
const MalformedHandlerName = fault("MalformedHandlerName");
const UserCodeSyntaxError = fault("UserCodeSyntaxError");

class UnhandledPromiseRejection extends Error {
  constructor(reason, promise) {
    super(reason);
    this.reason = reason;
    this.promise = promise;
  }
}
UnhandledPromiseRejection.prototype.name = "Runtime.UnhandledPromiseRejection";

function looksLikeError(value) {
  return util.types.isNativeError(value) || ["name", "message", "stack"].every((key) => typeof value?.[key] === "string");
}

/** The error document of whatever was thrown: errorType, errorMessage, trace. */
function errorDocument(error) {
  try {
    if (!looksLikeError(error)) {
      return { errorType: typeof error, errorMessage: String(error), trace: [] };
    }
    return { errorType: error.name, errorMessage: error.message, trace: String(error.stack).split("\n") };
  } catch {
    return { errorType: "handled", errorMessage: "The error that was thrown could not be read.", trace: [] };
  }
}

// --- The Runtime API ------------------------------------------------------------------------------------------------

/** A client of the Runtime API over one kept connection. */
class RuntimeApi {
  #address;
  #socket;
  #received = [];
  #answer;

  constructor(address) {
    this.#address = address;
  }

  /** Waits for the next invocation: headers by lower-case name, body as a Buffer. */
  async next() {
    const answer = await this.#request("GET", `${API}/invocation/next`);
    if (answer.status !== 200) throw new Error(`No next invocation: ${answer.status} ${answer.body}`);
    return answer;
  }

  /** Round trips for nothing: connects, and makes the next ones cheaper. */
  async ping() {
    await this.#request("GET", PING);
    await this.#request("POST", PING, { "Content-Type": "application/json" }, Buffer.from("{}"));
  }

  /** Posts the handler's answer. */
  async respond(requestId, body) {
    await this.#post(`${API}/invocation/${requestId}/response`, body, { "Content-Type": "application/json" });
  }

  /**
   * Begins to post an answer bit by bit. `write` calls back when its bytes have left; `end` resolves when the platform
   * has all, and tells the error that ended the answer early, if one did.
   */
  stream(requestId, contentType) {
    const target = `${API}/invocation/${requestId}/response`;
    const headers = {
      "Content-Type": contentType,
      "Transfer-Encoding": "chunked",
      "Lambda-Runtime-Function-Response-Mode": "streaming",
      Trailer: `${ERROR_TYPE}, ${ERROR_BODY}`,
    };
    const answered = this.#request("POST", target, headers);
    answered.catch(() => {}); // Whoever waits for the end hears of it.
    const socket = this.#socket;
    return {
      write: (chunk, written) => {
        socket.cork();
        socket.write(`${chunk.length.toString(16)}\r\n`, "latin1");
        socket.write(chunk);
        socket.write("\r\n", "latin1", written);
        socket.uncork();
      },
      end: async (error) => {
        const trailers = error === undefined ? "" : errorTrailers(error);
        socket.write(`0\r\n${trailers}\r\n`, "latin1");
        accepted(target, await answered);
      },
    };
  }

  /** Posts the error of an invocation. */
  async fail(requestId, error) {
    await this.#postError(`${API}/invocation/${requestId}/error`, error);
  }

  /** Posts the error of an init that failed. */
  async failInit(error) {
    await this.#postError(`${API}/init/error`, error);
  }

  async #postError(target, error) {
    const document = errorDocument(error);
    const headers = { "Content-Type": "application/json", [ERROR_TYPE]: headerText(document.errorType) };
    await this.#post(target, JSON.stringify(document), headers);
  }

  async #post(target, body, headers) {
    accepted(target, await this.#request("POST", target, headers, Buffer.from(body)));
  }

  #request(method, target, headers = {}, body = undefined) {
    const lines = [`${method} ${target} HTTP/1.1`, `Host: ${this.#address}`];
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    if (body !== undefined) lines.push(`Content-Length: ${body.length}`);
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
      this.#socket ??= this.#connect();
      this.#socket.ref();
      this.#socket.cork();
      this.#socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
      if (body?.length) this.#socket.write(body);
      this.#socket.uncork();
    });
  }

  #connect() {
    const [host, port] = this.#address.split(":");
    const socket = net.connect({ host, port: Number(port), noDelay: true });
    socket.on("data", (chunk) => this.#take(chunk));
    socket.on("error", (error) => this.#lost(socket, error));
    socket.on("close", () => this.#lost(socket, new Error("The Runtime API closed the connection.")));
    return socket;
  }

  #lost(socket, error) {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#received = [];
    this.#answer?.reject(error);
    this.#answer = undefined;
  }

  #take(chunk) {
    this.#received.push(chunk);
    const answer = parseAnswer(this.#received);
    if (answer === undefined) return;
    this.#received = [];
    this.#socket.unref();
    const { resolve } = this.#answer;
    this.#answer = undefined;
    resolve(answer);
  }
}

/** One that is too large was answered for us by the platform (413). */
function accepted(target, { status, body }) {
  if (status !== 202 && status !== 413) throw new Error(`${target} was refused: ${status} ${body}`);
}

function headerText(text) {
  return String(text).replace(/[^\x21-\x7e]/g, "?");
}

/** How the error that ended a streamed answer is told: its type, and its document in base64. */
function errorTrailers(error) {
  const document = errorDocument(error);
  const body = Buffer.from(JSON.stringify(document)).toString("base64");
  return `${ERROR_TYPE}: ${headerText(document.errorType)}\r\n${ERROR_BODY}: ${body}\r\n`;
}

/** The answer in `chunks`, or undefined if more must come. Nothing follows an answer unasked. */
function parseAnswer(chunks) {
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  if (chunks.expected !== undefined && length < chunks.expected) return undefined;
  const received = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
  const end = received.indexOf(HEAD_END);
  if (end < 0) {
    if (length > HEAD_MAX_BYTES) throw new Error("The head of an answer is too large.");
    return undefined;
  }
  const [statusLine, ...lines] = received.toString("latin1", 0, end).split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const start = end + HEAD_END.length;
  chunks.expected = start + Number(headers["content-length"] ?? 0);
  if (length < chunks.expected) return undefined;
  return { status: Number(statusLine.split(" ")[1]), headers, body: received.subarray(start, chunks.expected) };
}

// --- Logging --------------------------------------------------------------------------------------------------------

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
let currentRequestId;

/** Makes console.* write AWS's lines: time, request id and level before the message, or JSON documents. */
function patchConsole() {
  const lowest = Math.max(0, LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()));
  const format = logsJson() ? jsonLine : textLine;
  for (const [index, level] of LEVELS.entries()) {
    const write = (...params) => void process.stdout.write(`${format(level, params)}\n`);
    console[level.toLowerCase()] = index >= lowest ? write : () => {};
  }
  console.log = console.info;
}

function logsJson() {
  return process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";
}

function textLine(level, params) {
  return `${new Date().toISOString()}\t${currentRequestId}\t${level}\t${util.format(...params)}`;
}

function jsonLine(level, params) {
  const line = { timestamp: new Date().toISOString(), level, requestId: currentRequestId };
  const described = (error) => ({
    errorType: error?.constructor?.name ?? "UnknownError",
    errorMessage: error.message,
    stackTrace: typeof error.stack === "string" ? error.stack.split("\n") : [],
  });
  if (params.length === 1) {
    try {
      const replace = (_, value) => (value instanceof Error ? { ...described(value), ...value } : value);
      return JSON.stringify({ ...line, message: params[0] }, replace);
    } catch {
      return JSON.stringify({ ...line, message: util.format(params[0]) });
    }
  }
  const error = params.find((param) => param instanceof Error);
  return JSON.stringify({ ...line, message: util.format(...params), ...(error && described(error)) });
}

/** The line that AWS's runtime writes when a call or the process failed. */
function logError(title, thrown) {
  const error = thrown instanceof Error ? thrown : new Error(thrown);
  if (logsJson()) {
    console.error(error);
    return;
  }
  const shown = (_, value) => {
    if (!(value instanceof Error)) return value;
    const fields = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
    return typeof value.stack === "string" ? { ...fields, stack: value.stack.split("\n") } : fields;
  };
  let text;
  try {
    text = JSON.stringify(error, shown);
  } catch {
    text = JSON.stringify(errorDocument(error));
  }
  console.error(title, `\t${text}`);
}

// --- The function ---------------------------------------------------------------------------------------------------

/** The function that a handler string such as "folder/index.nested.handler" stands for. */
async function loadHandler(taskRoot, handler) {
  if (handler.includes("..")) {
    const hint = "Use absolute paths when specifying root directories in handler names.";
    throw new MalformedHandlerName(`'${handler}' is not a valid handler name. ${hint}`);
  }
  const file = path.basename(handler);
  const folder = handler.slice(0, handler.indexOf(file));
  const dot = file.indexOf(".");
  if (dot < 0) throw new MalformedHandlerName("Bad handler");
  const loaded = await loadModule(taskRoot, folder, file.slice(0, dot));
  const found = file
    .slice(dot + 1)
    .split(".")
    .reduce((nested, key) => nested?.[key], loaded);
  if (!found) throw new HandlerNotFound(`${handler} is undefined or not exported`);
  if (typeof found !== "function") throw new HandlerNotFound(`${handler} is not a function`);
  return found;
}

async function loadModule(taskRoot, folder, name) {
  try {
    const base = path.resolve(taskRoot, folder, name);
    const script = `${base}.js`;
    if (isFile(base)) return require(base);
    if (isFile(script)) return isModuleScope(path.dirname(script)) ? await importFile(script) : require(script);
    if (isFile(`${base}.mjs`)) return await importFile(`${base}.mjs`);
    if (isFile(`${base}.cjs`)) return require(`${base}.cjs`);
    return require(require.resolve(name, { paths: [taskRoot, path.resolve(taskRoot, folder)] }));
  } catch (error) {
    if (error instanceof SyntaxError) throw new UserCodeSyntaxError(error);
    if (error?.code === "MODULE_NOT_FOUND") throw new ImportModuleError(error);
    throw error;
  }
}

function isFile(name) {
  return fs.statSync(name, { throwIfNoEntry: false })?.isFile() ?? false;
}

function importFile(name) {
  return import(pathToFileURL(name).href);
}

/** Whether the nearest package.json above says that .js files are ES modules. */
function isModuleScope(folder) {
  if (path.basename(folder) === "node_modules") return false;
  const manifest = path.join(folder, "package.json");
  if (isFile(manifest)) {
    try {
      return JSON.parse(fs.readFileSync(manifest, "utf8"))?.type === "module";
    } catch (error) {
      console.warn(`${manifest} cannot be read, it will be ignored for ES module detection purposes.`, error);
      return false;
    }
  }
  const parent = path.dirname(folder);
  return parent !== folder && isModuleScope(parent);
}

// --- One invocation -------------------------------------------------------------------------------------------------

// What to do when the event loop has run empty: an invocation may be waiting for just that.
let onEmptyLoop = () => {};

/** Fields of the context object that come from the environment and the invocation's headers. */
function contextFields(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  return {
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parseHeader(headers["lambda-runtime-client-context"], "ClientContext"),
    identity: parseHeader(headers["lambda-runtime-cognito-identity"], "CognitoIdentity"),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

function parseHeader(value, name) {
  if (value === undefined) return undefined;
  try {
    return JSON.parse(value);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

function serialize(result) {
  try {
    return JSON.stringify(result) ?? "null";
  } catch {
    throw new Error("Unable to stringify response body");
  }
}

/**
 * Calls the handler. Resolves with what it answered, in whichever way it did so first: a promise, the callback, the
 * old context.succeed, fail and done, or none of them until the event loop ran empty.
 */
function call(handler, { headers, body }) {
  return new Promise((resolve, reject) => {
    let waitsForEmptyLoop = true;
    const done = (error, result) => {
      onEmptyLoop = () => {};
      if (error === undefined || error === null) resolve(result);
      else reject(error);
    };
    const callback = (error, result) => {
      const failed = error !== undefined && error !== null;
      if (failed || !waitsForEmptyLoop) done(error, result);
      else onEmptyLoop = () => done(null, result);
    };
    const context = {
      get callbackWaitsForEmptyEventLoop() {
        return waitsForEmptyLoop;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        waitsForEmptyLoop = value;
      },
      succeed: (result) => done(null, result),
      fail: (error) => done(error ?? "handled"),
      done,
    };
    onEmptyLoop = () => done(null, null);
    const returned = handler(JSON.parse(body), Object.assign(context, contextFields(headers)), once(callback));
    if (typeof returned?.then === "function") returned.then(context.succeed, context.fail);
  });
}

function once(action) {
  let used = false;
  return (...args) => {
    if (used) return;
    used = true;
    action(...args);
  };
}

async function serveOne(api, handler) {
  const invocation = await api.next();
  const requestId = invocation.headers["lambda-runtime-aws-request-id"];
  currentRequestId = requestId;
  setTraceId(invocation.headers["lambda-runtime-trace-id"]);
  failProcess = (client, error) => client.fail(requestId, error);
  try {
    if (handler[STREAMING]) await serveStreaming(api, handler, invocation);
    else await api.respond(requestId, serialize(await call(handler, invocation)));
  } catch (error) {
    logError("Invoke Error", error);
    await api.fail(requestId, error);
  }
}

function setTraceId(traceId) {
  if (traceId === undefined) delete process.env._X_AMZN_TRACE_ID;
  else process.env._X_AMZN_TRACE_ID = traceId;
}

// --- Response streaming ---------------------------------------------------------------------------------------------

const HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response";
const PRELUDE_END = Buffer.alloc(8);

function defineStreaming() {
  globalThis.awslambda = {
    streamifyResponse: (handler, options) =>
      Object.assign(handler, { [STREAMING]: "response", [HIGH_WATER_MARK]: options?.highWaterMark }),
    HttpResponseStream: {
      from: (stream, prelude) => {
        stream.setContentType(HTTP_INTEGRATION);
        stream.write(JSON.stringify(prelude));
        stream.write(PRELUDE_END);
        return stream;
      },
    },
  };
}

/**
 * Calls a streaming handler. What it writes goes out as it is written, no faster than the caller takes it. An error
 * before the first byte is the invocation's; a later one is told at the end of the answer.
 */
async function serveStreaming(api, handler, { headers, body }) {
  const { Writable } = require("node:stream");
  const { finished } = require("node:stream/promises");
  const requestId = headers["lambda-runtime-aws-request-id"];
  let contentType = "application/octet-stream";
  let answer;
  let over = false;
  const begun = () => (answer ??= api.stream(requestId, contentType));
  const stream = new Writable({
    highWaterMark: handler[HIGH_WATER_MARK],
    write: (chunk, _encoding, written) => (over || chunk.length === 0 ? written() : begun().write(chunk, written)),
  });
  stream.setContentType = (type) => {
    contentType = String(type).replace(/[^\x20-\x7e]/g, "?");
  };
  stream.on("error", () => {}); // Told by `finished` below.
  try {
    const returned = handler(JSON.parse(body), stream, contextFields(headers));
    if (typeof returned?.then !== "function") throw new Error("Streaming does not support non-async handlers.");
    await returned;
    if (!stream.writableEnded) throw new Error("Response stream is not finished.");
    await finished(stream);
  } catch (error) {
    over = true;
    if (answer === undefined) throw error;
    logError("Invoke Error", error);
    await answer.end(error);
    return;
  }
  await begun().end();
}

// --- Starting -------------------------------------------------------------------------------------------------------

// Reports an error that nobody caught: as the init's, or as that of the last invocation.
const failInit = (api, error) => api.failInit(error);
let failProcess = failInit;

function watchProcess(address) {
  const end = (title, error, status) => {
    logError(title, error);
    // Over a connection of its own: the other one may be waiting for an invocation.
    failProcess(new RuntimeApi(address), error).finally(() => process.exit(status));
  };
  process.on("uncaughtException", (error) => end("Uncaught Exception", error, EXIT_UNCAUGHT_EXCEPTION));
  process.on("unhandledRejection", (reason, promise) =>
    end("Unhandled Promise Rejection", new UnhandledPromiseRejection(reason, promise), EXIT_UNHANDLED_REJECTION),
  );
  process.on("beforeExit", () => onEmptyLoop());
}

/** Waits for the shim's document, if started before any function was known, and takes its environment over. */
async function waitForFunction(api) {
  const fd = Number(process.env.HEARTH_INIT_FD ?? NaN);
  delete process.env.HEARTH_INIT_FD;
  if (Number.isNaN(fd)) return;
  if (process.env.HEARTH_WANTED === undefined) {
    await warmUp(api);
    fs.writeSync(fd, "ready\n");
  }
  const chunks = [];
  for (;;) {
    const chunk = Buffer.alloc(INIT_CHUNK_BYTES);
    const length = fs.readSync(fd, chunk);
    if (length === 0) break;
    chunks.push(chunk.subarray(0, length));
  }
  fs.closeSync(fd);
  if (chunks.length === 0) process.exit(0); // The sandbox is ending without ever having been used.
  const { environment, handler, taskRoot, cloned } = JSON.parse(Buffer.concat(chunks));
  if (cloned) beginAnew();
  takeEnvironment({ ...environment, _HANDLER: handler, LAMBDA_TASK_ROOT: taskRoot });
  process.chdir(taskRoot);
  Module._initPaths(); // Reads NODE_PATH again.
}

/**
 * Gives this process random numbers and a time origin of its own. node:crypto has new numbers by itself (the shim sees
 * to it that OpenSSL finds its generators too old); V8's Math.random has no seed that could be set, and is replaced by
 * xoshiro128++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators").
 */
function beginAnew() {
  let [a, b, c, d] = new Uint32Array(randomBytes(16).buffer);
  const next = () => {
    const sum = (a + d) | 0;
    const result = (((sum << 7) | (sum >>> 25)) + a) | 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  // 53 random bits, as many as V8 gives.
  Math.random = { random: () => ((next() >>> 5) * 0x4000000 + (next() >>> 6)) / 0x20000000000000 }.random;
  Object.defineProperty(performance, "timeOrigin", { value: Date.now() - performance.now(), configurable: true });
}

/** From the kernel, past OpenSSL. */
function randomBytes(length) {
  const bytes = new Uint8Array(length);
  const fd = fs.openSync("/dev/urandom");
  fs.readSync(fd, bytes);
  fs.closeSync(fd);
  return bytes;
}

/**
 * Makes `wanted` the whole environment. What is the same already is left alone: each write to TZ, and more so its
 * removal, makes Node.js look for the machine's time zone anew, in hundreds of files (10 ms).
 */
function takeEnvironment(wanted) {
  for (const name of Object.keys(process.env)) if (!Object.hasOwn(wanted, name)) delete process.env[name];
  for (const [name, value] of Object.entries(wanted)) if (process.env[name] !== value) process.env[name] = value;
}

/** Does, before anybody waits, what init and the first call would otherwise pay for. */
async function warmUp(api) {
  for (const name of ["node:stream", "node:crypto", "node:http", "node:https"]) require(name);
  await import("data:text/javascript,"); // Starts the loader of ES modules.
  await fs.promises.readFile(__filename); // Starts the threads with which it reads.
  process.stdout.write("");
  process.stderr.write("");
  takeEnvironment({ ...process.env });
  patchConsole();
  new Date().getTimezoneOffset();
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) {
    await api.ping();
    isModuleScope(__dirname);
    textLine("INFO", ["", {}]);
    const handler = await loadHandler(__dirname, "bootstrap.warm");
    await serveOne(new Rehearsal(), handler);
  }
  currentRequestId = undefined;
  failProcess = failInit;
}

/** A Runtime API with one call for nobody. */
class Rehearsal {
  async next() {
    const headers = { "lambda-runtime-aws-request-id": "", "lambda-runtime-deadline-ms": "0" };
    return { headers, body: Buffer.from("{}") };
  }

  async respond() {}
}

async function main() {
  const address = process.env.AWS_LAMBDA_RUNTIME_API;
  const api = new RuntimeApi(address);
  await waitForFunction(api);
  patchConsole();
  watchProcess(address);
  defineStreaming();
  try {
    const handler = await loadHandler(process.env.LAMBDA_TASK_ROOT ?? process.cwd(), process.env._HANDLER ?? "");
    serve(api, handler);
  } catch (error) {
    logError("Uncaught Exception", error);
    api.failInit(error).finally(() => process.exit(EXIT_UNCAUGHT_EXCEPTION));
  }
}

async function serve(api, handler) {
  for (;;) await serveOne(api, handler);
}

exports.warm = async (event) => event;
process.mainModule = undefined; // As on AWS, where the bootstrap is an ES module.
main();
