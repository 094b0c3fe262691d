# frozen_string_literal: true

# Answers what it was asked, and with whose context.
def handler(event:, context:)
  puts "answering #{context.aws_request_id}, #{context.get_remaining_time_in_millis} ms left"
  event
end
