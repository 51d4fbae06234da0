#include "tools/control_server.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "tests/temporary_folder.h"

namespace rushfs::tools {
namespace {

namespace file = std::filesystem;

/// A runtime directory of its own, and one loop for the servers in it.
struct RuntimeDirectory {
  /// Answers everybody with its name.
  std::optional<ControlServer> listen(const std::string& socket, const std::string& name) {
    return std::optional<ControlServer>(std::in_place, loop, path / socket,
                                        [name](const nlohmann::json&, ControlServer::Reply reply) {
                                          std::move(reply)({{"name", name}});
                                        });
  }

  /// The answer to this request; nobody there: nothing.
  nlohmann::json ask(const std::string& socket, const std::string& request) {
    const int caller = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (path / socket).c_str());
    nlohmann::json answer = nlohmann::json::object();
    const std::string line = request + "\n";
    const auto size = static_cast<ssize_t>(line.size());
    if (::connect(caller, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
        ::send(caller, line.data(), line.size(), MSG_NOSIGNAL) == size) {
      loop.restart();
      loop.run_for(std::chrono::milliseconds(200));
      char text[200] = {};
      if (::recv(caller, text, sizeof text, MSG_DONTWAIT) > 0) answer = nlohmann::json::parse(text);
    }
    ::close(caller);
    return answer;
  }

  /// Who answers there; nobody: empty.
  std::string who_answers(const std::string& socket) {
    return ask(socket, "{}").value("name", "");
  }

  boost::asio::io_context loop;
  testing::TemporaryFolder path;
};

TEST_CASE("a mount that ends late leaves the socket to the one that got its device number") {
  RuntimeDirectory directory;
  auto first = directory.listen("0-50.sock", "first");
  REQUIRE(directory.who_answers("0-50.sock") == "first");
  auto second = directory.listen("0-50.sock", "second");
  REQUIRE(directory.who_answers("0-50.sock") == "second");
  first.reset();
  CHECK(directory.who_answers("0-50.sock") == "second");
  second.reset();
  CHECK(file::is_empty(directory.path.path()));
}

TEST_CASE("a socket left by a killed process is taken away, one that lives stays") {
  RuntimeDirectory directory;
  const int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, (directory.path / "0-51.sock").c_str());
  REQUIRE(::bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(dead);
  auto alive = directory.listen("0-52.sock", "alive");
  CHECK_FALSE(file::exists(directory.path / "0-51.sock"));
  auto next = directory.listen("0-53.sock", "next");
  CHECK(directory.who_answers("0-52.sock") == "alive");
}

TEST_CASE("a request with a number where a word should be is answered with an error") {
  RuntimeDirectory directory;
  const auto demanding = [](const nlohmann::json& request, ControlServer::Reply reply) {
    std::move(reply)({{"name", request.at("name").get<std::string>()}});
  };
  const ControlServer server(directory.loop, directory.path / "0-50.sock", demanding);
  CHECK(directory.ask("0-50.sock", R"({"name": "one"})").at("name") == "one");
  CHECK(directory.ask("0-50.sock", R"({"name": 1})").contains("error"));
  CHECK(directory.ask("0-50.sock", R"({})").contains("error"));
}

}  // namespace
}  // namespace rushfs::tools
