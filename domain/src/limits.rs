//! Every limit by name. Unless said otherwise the number is AWS Lambda's
//! (developer guide, "Lambda quotas"), so that what ran there runs here.

/// Smallest memory of a function, MB.
pub const MEMORY_MIN_MB: u32 = 128;
/// Largest memory of a function, MB.
pub const MEMORY_MAX_MB: u32 = 10_240;
/// Memory that comes with one whole vCPU, MB.
pub const MEMORY_MB_PER_VCPU: u32 = 1_769;
/// Shortest timeout, seconds.
pub const TIMEOUT_MIN_S: u32 = 1;
/// Longest timeout, seconds.
pub const TIMEOUT_MAX_S: u32 = 900;
/// Smallest `/tmp`, MB.
pub const EPHEMERAL_STORAGE_MIN_MB: u32 = 512;
/// Largest `/tmp`, MB.
pub const EPHEMERAL_STORAGE_MAX_MB: u32 = 10_240;

/// Largest request payload of a synchronous invocation, bytes (6 MB).
pub const SYNC_REQUEST_MAX_BYTES: usize = 6 * 1024 * 1024;
/// Largest response payload of a synchronous invocation, bytes. AWS allows 100 bytes above 6 MB and its error
/// message names this number.
pub const SYNC_RESPONSE_MAX_BYTES: usize = 6 * 1024 * 1024 + 100;
/// Largest streamed response payload, bytes (200 MB). Its first 6 MB are not held back, and neither is the rest here.
pub const STREAMED_RESPONSE_MAX_BYTES: u64 = 200 * 1024 * 1024;
/// Largest payload of an asynchronous invocation, bytes (1 MB).
pub const ASYNC_REQUEST_MAX_BYTES: usize = 1024 * 1024;
/// Largest payload of the deprecated InvokeAsync, bytes (256 KB).
pub const INVOKE_ASYNC_MAX_BYTES: usize = 256 * 1024;
/// Largest message of a queue, its attributes included, bytes (SQS quotas: 1 MiB).
pub const QUEUE_MESSAGE_MAX_BYTES: usize = 1024 * 1024;
/// Largest message of a topic, bytes (SNS quotas: 256 KB).
pub const TOPIC_MESSAGE_MAX_BYTES: usize = 256 * 1024;
/// Largest event of a bus, bytes (EventBridge quotas: 256 KB).
pub const BUS_EVENT_MAX_BYTES: usize = 256 * 1024;
/// Invocations that may follow from each other by destinations before the next is stopped (Lambda developer guide, "Use
/// Lambda recursive loop detection": about 16).
pub const RECURSIVE_INVOCATIONS_MAX: u32 = 16;
/// Largest zip in a CreateFunction or UpdateFunctionCode request, bytes (50 MB).
pub const BUNDLE_ZIP_MAX_BYTES: usize = 50 * 1024 * 1024;
/// Largest unzipped bundle, bytes (250 MB).
pub const BUNDLE_UNZIPPED_MAX_BYTES: u64 = 250 * 1024 * 1024;
/// Most layers of a function.
pub const LAYERS_MAX: usize = 5;
/// Most entries of a bundle. Ours: Lambda names none; this bounds the work of one upload.
pub const BUNDLE_MAX_ENTRIES: usize = 65_536;
/// Largest environment of a function: all keys and values together, bytes (4 KB).
pub const ENVIRONMENT_MAX_BYTES: usize = 4 * 1024;
/// Concurrent invocations of an account unless configured otherwise.
pub const ACCOUNT_CONCURRENCY_DEFAULT: u32 = 1_000;
/// Of an account's concurrency, what functions can't set aside (developer guide, "Configuring reserved concurrency").
pub const UNRESERVED_CONCURRENCY_MIN: u32 = 100;
/// Log bytes that an answer with `LogType=Tail` carries: the last 4 KB.
pub const LOG_TAIL_MAX_BYTES: usize = 4 * 1024;
/// Processes and threads of one execution environment.
pub const SANDBOX_MAX_PROCESSES: u32 = 1_024;
/// Open files of one process of an execution environment.
pub const SANDBOX_MAX_OPEN_FILES: u64 = 1_024;
/// Largest client context of an invocation, bytes, after base64 decoding.
pub const CLIENT_CONTEXT_MAX_BYTES: usize = 3_583;
/// Longest log line kept; longer ones are split. Ours: Lambda splits at the size of a CloudWatch Logs event.
pub const LOG_LINE_MAX_BYTES: usize = 256 * 1024;
/// Log bytes that one invocation may write before the rest is dropped with a note. Ours.
pub const INVOCATION_LOG_MAX_BYTES: usize = 16 * 1024 * 1024;
