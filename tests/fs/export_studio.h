// A server with an exported folder, and two clients who are attached to it.
#pragma once

#include <string>

#include "tests/fs/server_harness.h"

namespace rushfs::testing {

struct Studio {
  TemporaryFolder exported, state;
  ServerHarness server;
  TestClient anna{1}, ben{2};

  explicit Studio(HarnessOptions options = {}) : server(exported.path(), state.path(), options) {
    anna.connect_and_attach(server);
    ben.connect_and_attach(server);
  }
  NodeId make(const std::string& name, const std::string& content = "") {
    write_file(exported / name, content);
    return anna.lookup(name);
  }
};

}  // namespace rushfs::testing
