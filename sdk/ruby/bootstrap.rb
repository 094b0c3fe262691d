# frozen_string_literal: true

# Runs Ruby functions on Hearth: loads the handler, then serves one invocation after the other.
#
# Started in one of two ways:
#
# * before any function is known (HEARTH_INIT_FD names a socket): everything this file needs is loaded, "ready" is
#   written to the socket, and the rest waits for the one JSON document that the shim sends, and then closes with:
#   {"environment": {...}, "handler": "file.method", "taskRoot": "/var/task", "cloned": false};
#   AWS_LAMBDA_RUNTIME_API is the same before and after; "cloned" says that other processes may have been restored from
#   the same snapshot as this one, so that random numbers have to begin anew; if a function already waits for the
#   sandbox (HEARTH_WANTED), nothing is warmed up and nothing written;
# * for a known function (no HEARTH_INIT_FD): handler and task root are in the environment.
#
# What functions see (handler lookup, context, error documents, log lines, what ends the process) is what AWS Lambda's
# managed Ruby runtimes show them: AWS Lambda developer guide, "Building Lambda functions with Ruby".
#
# Invariants: standard library only, Ruby 2.7 or later; one connection to the Runtime API, one request at a time on it;
# nothing but LambdaContext, LambdaHandler and $_global_aws_request_id is visible to functions that AWS's does not have.

require "json"
require "logger"
require "socket"
require "stringio"

$stdout.sync = true
$stderr.sync = true

# The handler's +context+.
class LambdaContext
  attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
              :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms, :tenant_id

  def initialize(headers)
    @clock_diff = now(Process::CLOCK_REALTIME) - now(Process::CLOCK_MONOTONIC)
    @deadline_ms = headers["lambda-runtime-deadline-ms"].to_i
    @aws_request_id = headers["lambda-runtime-aws-request-id"]
    @invoked_function_arn = headers["lambda-runtime-invoked-function-arn"]
    @log_group_name = ENV["AWS_LAMBDA_LOG_GROUP_NAME"]
    @log_stream_name = ENV["AWS_LAMBDA_LOG_STREAM_NAME"]
    @function_name = ENV["AWS_LAMBDA_FUNCTION_NAME"]
    @memory_limit_in_mb = ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
    @function_version = ENV["AWS_LAMBDA_FUNCTION_VERSION"]
    @identity = parsed(headers["lambda-runtime-cognito-identity"])
    @client_context = parsed(headers["lambda-runtime-client-context"])
    @tenant_id = headers["lambda-runtime-aws-tenant-id"]
  end

  # Milliseconds left before the invocation times out.
  def get_remaining_time_in_millis
    [@deadline_ms - (now(Process::CLOCK_MONOTONIC) + @clock_diff), 0].max
  end

  private

  def now(clock)
    Process.clock_gettime(clock, :millisecond)
  end

  def parsed(header)
    JSON.parse(header) if header && !header.empty?
  end
end

# How functions may turn requests and answers into something else: they overwrite these two.
module AwsLambda
  class Marshaller
    class << self
      def marshall_request(raw_request)
        raw_request["Content-Type"] == "application/json" ? JSON.parse(raw_request.body) : raw_request.body
      end

      def marshall_response(method_response)
        case method_response
        when StringIO, IO then [method_response, "application/unknown"]
        else method_response.to_json
        end
      end
    end
  end
end

# The function that a handler such as "file.method" or "file.Module::Class.method" stands for. Files are loaded from
# within it, and methods of no class are called on it.
class LambdaHandler
  FORMS = "must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD where FILENAME corresponds with an existing Ruby " \
          "source file FILENAME.rb, CLASS is an optional module/class namespace and METHOD is a callable method. If " \
          "using CLASS, METHOD must be a class-level method."

  attr_reader :handler_file_name, :handler_method_name

  def initialize(env_handler:)
    parts = env_handler.split(".")
    raise ArgumentError, "Invalid handler #{parts}, #{FORMS}" unless [2, 3].include?(parts.size)

    @handler_file_name = parts.first
    @handler_class = parts[1] if parts.size == 3
    @handler_method_name = parts.last
  end

  # The answer, marshalled: text, or text (or something to read) and its content type.
  def call_handler(request:, context:)
    target = @handler_class ? Kernel.const_get(@handler_class) : self
    AwsLambda::Marshaller.marshall_response(target.__send__(@handler_method_name, event: request, context: context))
  end
end

module HearthRuntime
  API = "/2018-06-01/runtime"
  HERE = File.expand_path(__FILE__)
  READ_CHUNK_BYTES = 64 * 1024
  HEAD_MAX_BYTES = 1024 * 1024
  STACK_FRAMES_MAX = 100
  ACCEPTED = 202
  TOO_LARGE = 413
  # Types that are told as they are in the header that classifies an error; all others are the user's.
  KNOWN_ERRORS = %w[
    ArgumentError NoMethodError Exception StandardError NameError LoadError SystemExit SystemStackError
  ].freeze
  INIT_FAILED = 252
  CRITICAL = 255

  # What the Runtime API said: a status, headers by lower-case name, a body. Headers are also found by other spellings.
  Answer = Struct.new(:status, :headers, :body) do
    def [](name)
      headers[name.downcase]
    end
  end

  # A client of the Runtime API over one kept connection.
  class Api
    def initialize(address)
      @address = address
      @host, _, @port = address.rpartition(":")
      @unread = String.new(encoding: Encoding::BINARY)
    end

    def next
      answer = request("GET", "#{API}/invocation/next")
      raise "no next invocation: #{answer.status} #{answer.body}" unless answer.status == 200

      answer
    end

    # One round trip for nothing: connects, and makes the next one cheaper.
    def ping
      request("GET", "/2018-06-01/ping")
    end

    # Posts the handler's answer. One that is too large has been answered for us by the platform.
    def respond(request_id, body, content_type)
      post("#{API}/invocation/#{request_id}/response", body, "Content-Type" => content_type)
    end

    def fail(request_id, failure)
      post_failure("#{API}/invocation/#{request_id}/error", failure)
    end

    def fail_init(failure)
      post_failure("#{API}/init/error", failure)
    end

    private

    def post_failure(path, failure)
      headers = { "Content-Type" => "application/json", "Lambda-Runtime-Function-Error-Type" => failure.header }
      post(path, JSON.generate(failure.document), headers)
    end

    def post(path, body, headers)
      answer = request("POST", path, headers, body)
      return if [ACCEPTED, TOO_LARGE].include?(answer.status)

      raise "#{path} was refused: #{answer.status} #{answer.body}"
    end

    def request(method, path, headers = {}, body = nil)
      head = +"#{method} #{path} HTTP/1.1\r\nHost: #{@address}\r\n"
      headers.each { |name, value| head << "#{name}: #{value}\r\n" }
      head << "Content-Length: #{body.bytesize}\r\n" if body
      head << "\r\n"
      connect
      @socket.write(head, body || "")
      answer
    rescue SystemCallError, EOFError
      # The connection is in no known state, so whoever asks next gets a new one.
      @socket&.close
      @socket = nil
      raise
    end

    def connect
      return if @socket

      @socket = TCPSocket.new(@host, @port.to_i)
      @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
      @unread.clear
    end

    def answer
      until (head_end = @unread.index("\r\n\r\n"))
        raise IOError, "the head of an answer is too large" if @unread.bytesize > HEAD_MAX_BYTES

        @unread << @socket.readpartial(READ_CHUNK_BYTES)
      end
      status_line, *lines = @unread.byteslice(0, head_end).split("\r\n")
      headers = lines.map { |line| line.split(":", 2) }.to_h { |name, value| [name.downcase, text(value.strip)] }
      @unread = @unread.byteslice(head_end + 4, @unread.bytesize)
      length = headers.fetch("content-length", "0").to_i
      @unread << @socket.read(length - @unread.bytesize) if @unread.bytesize < length
      raise EOFError, "the Runtime API closed the connection" if @unread.bytesize < length

      body = @unread.byteslice(0, length)
      @unread = @unread.byteslice(length, @unread.bytesize)
      Answer.new(status_line.split(" ", 3)[1].to_i, headers, text(body))
    end

    def text(bytes)
      bytes.force_encoding(Encoding::UTF_8)
    end
  end

  # The error document of an exception: errorMessage, errorType, stackTrace. +phase+ is Function or Init.
  class Failure
    attr_reader :document

    def initialize(error, phase)
      @error_class = error.class.to_s
      @type = "#{phase}<#{@error_class}>"
      message = error.message.to_s.dup
      message = message.force_encoding(Encoding::UTF_8).scrub
      @document = { errorMessage: message, errorType: @type, stackTrace: Failure.frames(error) }
    end

    # For the header: no names of the user's own.
    def header
      KNOWN_ERRORS.include?(@error_class) ? @type : "Function<UserException>"
    end

    def log(title)
      $stdout.puts(title, JSON.pretty_generate(@document))
    end

    # The function's own frames: those before the first of this file.
    def self.frames(error)
      frames = (error.backtrace || []).take_while { |frame| !frame.start_with?(HERE) }
      frames.first(STACK_FRAMES_MAX).map { |frame| frame.dup.force_encoding(Encoding::UTF_8).scrub }
    end
  end

  # AWS's line of a logger: the request id stands before the name of the program.
  class LineFormatter < Logger::Formatter
    LINE = "%s, [%s #%d] %5s %s -- %s: %s\n"

    def call(severity, time, progname, msg)
      format(LINE, severity[0], format_datetime(time), Process.pid, severity, $_global_aws_request_id, progname,
             msg2str(msg)).encode(Encoding::UTF_8, invalid: :replace, undef: :replace)
    end
  end

  # One JSON document a line, for AWS_LAMBDA_LOG_FORMAT=JSON.
  class JsonFormatter < Logger::Formatter
    def call(severity, time, progname, msg)
      line = { timestamp: time.utc.strftime("%Y-%m-%dT%H:%M:%S.%6NZ"), level: severity,
               message: msg.is_a?(Exception) ? msg.message : msg2str(msg), requestId: $_global_aws_request_id,
               logger: progname }
      if msg.is_a?(Exception)
        line.update(errorType: msg.class.to_s, errorMessage: msg.message, stackTrace: msg.backtrace || [])
      end
      "#{JSON.generate(line.compact)}\n"
    end
  end

  # Loggers that write to standard output or error have AWS's format and the function's level.
  module Loggers
    LEVELS = { "TRACE" => "debug", "DEBUG" => "debug", "INFO" => "info", "WARN" => "warn", "ERROR" => "error",
               "FATAL" => "fatal" }.freeze

    def initialize(logdev = nil, *args, **options)
      super(logdev || $stdout, *args, **options)
      return unless logdev.nil? || [$stdout, $stderr].include?(logdev)

      json = ENV["AWS_LAMBDA_LOG_FORMAT"].to_s.casecmp?("JSON")
      @default_formatter = json ? JsonFormatter.new : LineFormatter.new
      level = LEVELS[ENV["AWS_LAMBDA_LOG_LEVEL"].to_s.upcase]
      self.level = level if level && !options.key?(:level)
    end
  end

  # Loads the function and serves it.
  class Runner
    def initialize(api)
      @api = api
    end

    def run(handler)
      begin
        found = LambdaHandler.new(env_handler: handler)
        require found.handler_file_name
      rescue Exception => e # rubocop:disable Lint/RescueException -- also LoadError, SyntaxError and SystemExit
        failure = Failure.new(e, "Init")
        failure.log("Init error when loading handler #{handler}")
        @api.fail_init(failure)
        Process.exit!(INIT_FAILED)
      end
      loop { serve(found) }
    end

    # One invocation. What is no StandardError (exit, say) ends the process after it was told.
    def serve(handler)
      invocation = @api.next
      request_id = $_global_aws_request_id = invocation["lambda-runtime-aws-request-id"]
      ENV["_X_AMZN_TRACE_ID"] = invocation["lambda-runtime-trace-id"]
      begin
        body, type = call(handler, invocation)
      rescue StandardError => e
        failure = Failure.new(e, "Function")
        failure.log("Error raised from handler method")
        return @api.fail(request_id, failure)
      rescue Exception => e # rubocop:disable Lint/RescueException -- as AWS's runtime does
        critical(request_id, e)
      end
      @api.respond(request_id, body, type || "application/json")
    end

    private

    def call(handler, invocation)
      request = AwsLambda::Marshaller.marshall_request(invocation)
      body, type = handler.call_handler(request: request, context: LambdaContext.new(invocation.headers))
      [body.respond_to?(:read) ? body.read : body.to_s, type]
    end

    def critical(request_id, error)
      failure = Failure.new(error, "Function")
      failure.log("Critical exception from handler")
      @api.fail(request_id, failure)
      Process.exit!(CRITICAL)
    end
  end

  # A Runtime API with one call for nobody.
  class Rehearsal
    def next
      headers = { "lambda-runtime-aws-request-id" => "", "content-type" => "application/json" }
      Answer.new(200, headers, +"{}")
    end

    def respond(*); end
  end

  class << self
    # Waits for the shim's document, if started before any function was known, and takes its environment over.
    def wait_for_function(api)
      fd = ENV.delete("HEARTH_INIT_FD")
      return unless fd

      socket = IO.for_fd(fd.to_i, "r+b")
      unless ENV.key?("HEARTH_WANTED")
        warm_up(api)
        socket.syswrite("ready\n")
      end
      document = socket.read
      socket.close
      Process.exit!(0) if document.empty? # The sandbox is ending without ever having been used.
      take(JSON.parse(document.force_encoding(Encoding::UTF_8)))
    end

    # The function's files and layers are found, as RUBYLIB and GEM_PATH would have it at a start.
    def set_search_path(task_root)
      lib = ENV["RUBYLIB"].to_s.split(":").reject(&:empty?)
      $LOAD_PATH.unshift(*([task_root] + lib).uniq - $LOAD_PATH)
      gems = ENV["GEM_PATH"].to_s.split(":") + Gem.default_path
      Gem.paths = { "GEM_HOME" => ENV["GEM_HOME"], "GEM_PATH" => gems.uniq.join(":") }
    end

    private

    def take(told)
      ENV.replace(told["environment"].merge("_HANDLER" => told["handler"], "LAMBDA_TASK_ROOT" => told["taskRoot"]))
      # Ruby's generators have no state from before: the seed is the kernel's, and so is SecureRandom's. OpenSSL has one.
      srand if told["cloned"]
      Dir.chdir(told["taskRoot"])
    end

    # Does, before anybody waits, what init and the first call would otherwise pay for.
    def warm_up(api)
      require "time"
      api.ping
      2.times { Runner.new(Rehearsal.new).serve(LambdaHandler.new(env_handler: "bootstrap.hearth_warm")) }
      JSON.pretty_generate(Failure.new(RuntimeError.new(""), "Function").document)
      Logger.new(StringIO.new).info("")
      ENV.delete("_X_AMZN_TRACE_ID")
      $_global_aws_request_id = nil
      GC.start
      GC.compact if GC.respond_to?(:compact)
    end
  end

  def self.main
    api = Api.new(ENV.fetch("AWS_LAMBDA_RUNTIME_API"))
    wait_for_function(api)
    LambdaHandler.class_eval { undef_method(:hearth_warm) }
    Logger.prepend(Loggers)
    set_search_path(ENV["LAMBDA_TASK_ROOT"] || Dir.pwd)
    trap("TERM") { Process.exit!(0) }
    Runner.new(api).run(ENV["_HANDLER"].to_s)
  end
end

class LambdaHandler
  def hearth_warm(event:, context:)
    event
  end
end

HearthRuntime.main if $PROGRAM_NAME == __FILE__
