// Functions in C++ on a custom runtime (`provided.al2023`): one header, C++17, no dependency.
//
//     #include "hearth.hpp"
//
//     int main() {
//       return hearth::run([](const std::string& event, const hearth::Context& context) { return event; });
//     }
//
// The function gets the event as it came and gives its answer as JSON text; what is thrown becomes an error document:
// `hearth::Error` with a type of its own, any other exception with the name of its class.
//
// Invariants: one connection to the Runtime API, one request at a time on it; standard output and error are flushed
// before an answer is posted; what the API itself refuses or breaks ends the process.

#ifndef HEARTH_HPP
#define HEARTH_HPP

#include <arpa/inet.h>
#include <cxxabi.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>

namespace hearth {

// A failure with a type of the function's choice.
class Error : public std::runtime_error {
 public:
  Error(std::string type, const std::string& message) : std::runtime_error(message), type_(std::move(type)) {}
  const std::string& type() const { return type_; }

 private:
  std::string type_;
};

// What a function can know of its invocation. Texts that are JSON are as the caller sent them, and empty without.
struct Context {
  std::string request_id;
  std::string invoked_function_arn;
  std::string trace_id;
  std::string client_context_json;
  std::string cognito_identity_json;
  std::chrono::system_clock::time_point deadline;

  // Until the invocation times out; 0 afterwards.
  std::chrono::milliseconds remaining_time() const {
    const auto left = deadline - std::chrono::system_clock::now();
    return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(left), std::chrono::milliseconds(0));
  }
};

using Handler = std::function<std::string(const std::string& event, const Context& context)>;

// Text as a JSON string, with its quotes.
inline std::string quoted(const std::string& text) {
  std::string json = "\"";
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      json += {'\\', letter};
    } else if (code < 0x20) {
      char escaped[7];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", code);
      json += escaped;
    } else {
      json += letter;
    }
  }
  return json + "\"";
}

// An environment variable, or nothing.
inline std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

namespace detail {

constexpr const char* kApi = "/2018-06-01/runtime";
constexpr std::size_t kHeadMaxBytes = 1024 * 1024;
constexpr std::size_t kChunkBytes = 64 * 1024;

struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;  // By lower-case names.
  std::string body;
};

// A client of the Runtime API over one kept connection.
class Api {
 public:
  explicit Api(const std::string& address) : address_(address) {
    const auto colon = address.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool known = inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) == 1;
    if (socket_ < 0 || !known || connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
      throw std::runtime_error("can't connect to the Runtime API at " + address);
    }
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;
  ~Api() { close(socket_); }

  Answer next() {
    Answer answer = request("GET", std::string(kApi) + "/invocation/next", "", "");
    if (answer.status != 200) throw std::runtime_error("no next invocation: " + std::to_string(answer.status));
    return answer;
  }

  // An answer that is too large (413) has been answered for us by the platform.
  void post(const std::string& path, const std::string& headers, const std::string& body) {
    const Answer answer = request("POST", std::string(kApi) + path, headers, body);
    if (answer.status != 202 && answer.status != 413) {
      throw std::runtime_error(path + " was refused: " + std::to_string(answer.status));
    }
  }

 private:
  Answer request(const std::string& method, const std::string& path, const std::string& headers,
                 const std::string& body) {
    std::string message = method + " " + path + " HTTP/1.1\r\nHost: " + address_ + "\r\n" + headers;
    if (method == "POST") message += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    send_all(message + "\r\n" + body);
    return read_answer();
  }

  void send_all(const std::string& bytes) {
    for (std::size_t sent = 0; sent < bytes.size();) {
      const ssize_t now = send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (now < 0 && errno != EINTR) throw std::runtime_error("the Runtime API can't be written to");
      sent += now < 0 ? 0 : static_cast<std::size_t>(now);
    }
  }

  void receive() {
    char chunk[kChunkBytes];
    for (;;) {
      const ssize_t now = recv(socket_, chunk, sizeof chunk, 0);
      if (now > 0) return void(unread_.append(chunk, static_cast<std::size_t>(now)));
      if (now == 0 || errno != EINTR) throw std::runtime_error("the Runtime API closed the connection");
    }
  }

  Answer read_answer() {
    std::size_t end;
    while ((end = unread_.find("\r\n\r\n")) == std::string::npos) {
      if (unread_.size() > kHeadMaxBytes) throw std::runtime_error("the head of an answer is too large");
      receive();
    }
    Answer answer;
    answer.status = std::stoi(unread_.substr(unread_.find(' ') + 1));
    for (std::size_t line = unread_.find("\r\n"); line < end;) {
      const std::size_t start = line + 2;
      line = unread_.find("\r\n", start);
      add_header(answer, unread_.substr(start, line - start));
    }
    unread_.erase(0, end + 4);
    const auto length = answer.headers.find("content-length");
    const std::size_t size = length == answer.headers.end() ? 0 : std::stoul(length->second);
    while (unread_.size() < size) receive();
    answer.body = unread_.substr(0, size);
    unread_.erase(0, size);
    return answer;
  }

  static void add_header(Answer& answer, const std::string& line) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) return;
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char letter) { return std::tolower(letter); });
    answer.headers[name] = line.substr(std::min(line.find_first_not_of(' ', colon + 1), line.size()));
  }

  std::string address_;
  std::string unread_;
  int socket_ = -1;
};

inline std::string class_name(const std::type_info& type) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  std::string name = status == 0 ? demangled : type.name();
  std::free(demangled);
  // What std::throw_with_nested throws is of a class of its own, made of the one that was asked for.
  const std::string nested = "std::_Nested_exception<";
  if (name.compare(0, nested.size(), nested) == 0) name = name.substr(nested.size(), name.size() - nested.size() - 1);
  return name;
}

inline void report(Api& api, const std::string& path, const std::string& type, const std::string& message) {
  std::string header = type;
  std::replace_if(header.begin(), header.end(), [](unsigned char letter) { return letter <= ' ' || letter > '~'; }, '?');
  const std::string document =
      "{\"errorMessage\":" + quoted(message) + ",\"errorType\":" + quoted(type) + ",\"stackTrace\":[]}";
  std::fprintf(stderr, "[ERROR] %s: %s\n", type.c_str(), message.c_str());
  std::fflush(nullptr);
  const std::string headers = "Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: " + header + "\r\n";
  api.post(path, headers, document);
}

inline Context context_of(Answer& invocation) {
  auto& headers = invocation.headers;
  Context context;
  context.request_id = headers["lambda-runtime-aws-request-id"];
  context.invoked_function_arn = headers["lambda-runtime-invoked-function-arn"];
  context.trace_id = headers["lambda-runtime-trace-id"];
  context.client_context_json = headers["lambda-runtime-client-context"];
  context.cognito_identity_json = headers["lambda-runtime-cognito-identity"];
  const std::chrono::milliseconds deadline(std::stoll("0" + headers["lambda-runtime-deadline-ms"]));
  context.deadline = std::chrono::system_clock::time_point(deadline);
  return context;
}

inline void serve_one(Api& api, const Handler& handler) {
  Answer invocation = api.next();
  const Context context = context_of(invocation);
  const std::string path = "/invocation/" + context.request_id;
  setenv("_X_AMZN_TRACE_ID", context.trace_id.c_str(), 1);
  std::string answer;
  try {
    answer = handler(invocation.body, context);
  } catch (const Error& error) {
    return report(api, path + "/error", error.type(), error.what());
  } catch (const std::exception& error) {
    return report(api, path + "/error", class_name(typeid(error)), error.what());
  }
  std::fflush(nullptr);
  api.post(path + "/response", "Content-Type: application/json\r\n", answer);
}

}  // namespace detail

// Serves invocations for as long as the sandbox lives.
inline int run(const Handler& handler) {
  detail::Api api(variable("AWS_LAMBDA_RUNTIME_API"));
  for (;;) detail::serve_one(api, handler);
}

}  // namespace hearth

#endif
