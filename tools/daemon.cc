#include "tools/daemon.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace rushfs::tools {
namespace {

/// The parent's whole remaining life. An end of file without a byte: the child died of an error
/// that it has printed itself.
[[noreturn]] void await_child(int pipe, pid_t child) {
  char ready = 0;
  ssize_t count = 0;
  while ((count = read(pipe, &ready, 1)) < 0 && errno == EINTR) {
  }
  if (count == 1) _exit(0);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(ExitCode::failure));
}

}  // namespace

Daemon::Daemon(bool foreground) {
  if (foreground) return;
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot make a pipe");
  }
  const pid_t child = fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "cannot fork");
  if (child > 0) {
    close(ends[1]);
    await_child(ends[0], child);
  }
  close(ends[0]);
  parent_ = ends[1];
}

void Daemon::ready() {
  if (parent_ < 0) return;
  setsid();  // only now: until here the user's Ctrl-C reaches us too
  if (chdir("/") != 0) std::abort();
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    dup2(null, descriptor);
  }
  if (null > STDERR_FILENO) close(null);
  const char byte = 1;
  while (write(parent_, &byte, 1) < 0 && errno == EINTR) {
  }
  close(parent_);
  parent_ = -1;
}

}  // namespace rushfs::tools
