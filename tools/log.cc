#include "tools/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>

#include <cstdlib>

namespace rushfs::tools {
namespace {

spdlog::sink_ptr terminal() {
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  // The journal has its own clock.
  sink->set_pattern(std::getenv("JOURNAL_STREAM") != nullptr ? "%v" : "%Y-%m-%d %T.%e %^%l%$ %v");
  return sink;
}

}  // namespace

void log_to_terminal() {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("rushfs", terminal()));
}

void log_to_system(const std::string& name) {
  auto system =
      std::make_shared<spdlog::sinks::syslog_sink_mt>(name, LOG_PID, LOG_DAEMON, false);
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>(name, spdlog::sinks_init_list{terminal(), system}));
}

}  // namespace rushfs::tools
