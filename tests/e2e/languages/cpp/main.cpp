// What test_languages.py asks of every language, in C++. It finds what it needs in the event by its name: the tests
// send no name twice.

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

#include "../../../../sdk/cpp/hearth.hpp"

class Broken : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What follows `"name": ` in the event.
static std::string after(const std::string& event, const std::string& name) {
  const auto at = event.find("\"" + name + "\": ");
  return at == std::string::npos ? "" : event.substr(at + name.size() + 4);
}

static std::string text(const std::string& event, const std::string& name) {
  const std::string rest = after(event, name);
  return rest.substr(1, rest.find('"', 1) - 1);
}

static std::string told(const hearth::Context& context) {
  const auto named = [](const char* name) { return hearth::quoted(hearth::variable(name)); };
  const std::string& client = context.client_context_json;
  const auto member = [&](const char* name) {
    const std::string rest = after(client, name);
    return rest.empty() ? "null" : rest.substr(0, rest.find_first_of("}") + 1);
  };
  return "{\"request_id\":" + hearth::quoted(context.request_id) +
         ",\"function_name\":" + named("AWS_LAMBDA_FUNCTION_NAME") +
         ",\"function_version\":" + named("AWS_LAMBDA_FUNCTION_VERSION") +
         ",\"arn\":" + hearth::quoted(context.invoked_function_arn) +
         ",\"memory_mb\":" + named("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") +
         ",\"log_group\":" + named("AWS_LAMBDA_LOG_GROUP_NAME") +
         ",\"log_stream\":" + named("AWS_LAMBDA_LOG_STREAM_NAME") +
         ",\"left_ms\":" + std::to_string(context.remaining_time().count()) + ",\"custom\":" + member("custom") +
         ",\"client_env\":" + member("env") + ",\"title\":" + hearth::quoted(text(client, "app_title")) + "}";
}

static std::string environment(const std::string& event) {
  std::string rest = after(event, "names"), found;
  rest = rest.substr(0, rest.find(']'));
  for (std::size_t from = rest.find('"'); from != std::string::npos;) {
    const std::size_t to = rest.find('"', from + 1);
    const std::string name = rest.substr(from + 1, to - from - 1);
    const char* value = std::getenv(name.c_str());
    found += (found.empty() ? "" : ",") + hearth::quoted(name) + ":" + (value ? hearth::quoted(value) : "null");
    from = rest.find('"', to + 1);
  }
  return "{" + found + "}";
}

static std::string handle(const std::string& event, const hearth::Context& context) {
  const std::string asked = text(event, "do");
  if (asked == "echo") return event;
  if (asked == "context") return told(context);
  if (asked == "environment") return environment(event);
  if (asked == "log") {
    std::printf("to stdout: %s\n", text(event, "text").c_str());
    std::fflush(stdout);
    std::fprintf(stderr, "to stderr: %s\n", text(event, "text").c_str());
  }
  if (asked == "large") return hearth::quoted(std::string(std::stoul(after(event, "size")), 'x'));
  if (asked == "raise") throw Broken(text(event, "message"));
  if (asked == "cause") {
    try {
      throw std::invalid_argument("inner");
    } catch (const std::exception&) {
      std::throw_with_nested(Broken("outer"));
    }
  }
  if (asked == "exit") _exit(3);
  if (asked == "sleep") sleep(60);
  if (asked == "memory") {
    for (int i = 0; i < 2048; i++) std::memset(std::malloc(1 << 20), 1, 1 << 20);
  }
  return "null";
}

int main() {
  if (hearth::variable("AT_INIT") == "exit") _exit(3);
  return hearth::run(handle);
}
