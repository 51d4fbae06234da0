#include "tools/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <syslog.h>

#include <cstdlib>

namespace rushfs::tools {

void log_to_terminal() {
  auto logger = spdlog::stderr_color_mt("terminal");
  // The journal has its own clock.
  logger->set_pattern(std::getenv("JOURNAL_STREAM") != nullptr ? "%v" : "%Y-%m-%d %T.%e %^%l%$ %v");
  spdlog::set_default_logger(std::move(logger));
}

void log_to_system(const std::string& name) {
  spdlog::set_default_logger(spdlog::syslog_logger_mt("system", name, LOG_PID, LOG_DAEMON));
}

}  // namespace rushfs::tools
