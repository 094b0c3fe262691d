// Answers what it was asked, and logs in whose context.

#include <cstdio>

#include "../../sdk/cpp/hearth.hpp"

int main() {
  return hearth::run([](const std::string& event, const hearth::Context& context) {
    std::printf("answering %s\n", context.request_id.c_str());
    return event;
  });
}
