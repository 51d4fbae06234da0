#include "transport/udp/udp_report.h"

namespace rushfs::transport {

namespace {

std::string advice(const char* which, const char* sysctl, const SocketBuffer& buffer) {
  if (!buffer.clipped()) return {};
  return std::string("The kernel granted a UDP ") + which + " buffer of " +
         std::to_string(buffer.granted.count >> 10) + " KiB instead of " +
         std::to_string(buffer.asked.count >> 10) +
         " KiB, which costs speed on fast links. To raise it: sysctl -w net.core." + sysctl + "=" +
         std::to_string(buffer.asked.count) + ". ";
}

}  // namespace

std::string buffer_advice(const UdpReport& report) {
  std::string text = advice("receive", "rmem_max", report.receive_buffer) +
                     advice("send", "wmem_max", report.send_buffer);
  if (!text.empty()) text.pop_back();
  return text;
}

}  // namespace rushfs::transport
