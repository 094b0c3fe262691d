# frozen_string_literal: true

# What test_languages.py asks of every language, in Ruby.

raise ArgumentError, "at init" if ENV["AT_INIT"] == "raise"

Process.exit!(3) if ENV["AT_INIT"] == "exit"

class Broken < StandardError; end

module Functions
  class Every
    def self.handler(event:, context:)
      send("do_#{event["do"]}", event, context)
    end

    class << self
      def do_echo(event, _context) = event

      def do_context(_event, context)
        client = context.client_context
        {
          request_id: context.aws_request_id, function_name: context.function_name,
          function_version: context.function_version, arn: context.invoked_function_arn,
          memory_mb: context.memory_limit_in_mb, log_group: context.log_group_name,
          log_stream: context.log_stream_name, left_ms: context.get_remaining_time_in_millis,
          custom: client && client["custom"], client_env: client && client["env"],
          title: client&.dig("client", "app_title")
        }
      end

      def do_environment(event, _context) = event["names"].to_h { |name| [name, ENV[name]] }

      def do_log(event, _context)
        puts "to stdout: #{event["text"]}"
        warn "to stderr: #{event["text"]}"
      end

      def do_large(event, _context) = "x" * event["size"]

      def do_raise(event, _context) = raise(Broken, event["message"])

      def do_cause(_event, _context)
        raise ArgumentError, "inner"
      rescue ArgumentError
        raise Broken, "outer"
      end

      def do_exit(_event, _context) = Process.exit!(3)

      def do_sleep(_event, _context) = sleep(60)

      def do_memory(_event, _context) = ("x" * (2 << 30)).bytesize
    end
  end
end

def handler(event:, context:)
  Functions::Every.handler(event: event, context: context)
end
