// Two ends that move messages as fast as the transport lets them, memory to memory: for the
// benchmark and for the driver's own tests.
//
// A request's first byte says what is wanted: 'u' (upload: the rest is payload, the reply is
// empty) or 'd' (download: four bytes of length, big-endian, follow; the reply has that length).
#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <string>

#include "transport/path_report.h"
#include "transport/security/identity.h"
#include "transport/udp/udp_driver.h"

namespace rushfs::bench {

using transport::Address;
using transport::Buffer;
using transport::Bytes;

/// A throw-away identity from a seed; every bench peer trusts every other.
std::shared_ptr<const transport::Identity> bench_identity(std::uint8_t seed);

/// Answers requests on the network loop itself.
class BenchServer {
 public:
  BenchServer(boost::asio::io_context& loop, transport::EndpointConfig config,
              transport::UdpOptions options);
  transport::UdpDriver& driver() { return driver_; }
  /// Downloads and uploads carry this pattern; what arrived otherwise.
  std::uint64_t damaged() const { return damaged_; }

 private:
  void on_event(transport::DriverEvent event);
  void answer(transport::ConnectionHandle connection, const transport::RequestArrived& request);

  transport::UdpDriver driver_;
  std::uint64_t damaged_ = 0;
};

struct Load {
  Bytes up{0};                 // to move in all
  Bytes down{0};
  Bytes message = Bytes{1 << 20};
  Bytes outstanding = Bytes{64 << 20};  // asked and not yet answered, each way
};

/// Connects, moves a load, and says when it is done. Lives on its network loop.
class BenchClient {
 public:
  using Done = absl::AnyInvocable<void() &&>;

  BenchClient(boost::asio::io_context& loop, transport::EndpointConfig config,
              transport::UdpOptions options);
  /// `done` is called when everything arrived, or the connection ended (see failure()).
  void start(const Address& server, const Load& load, Done done);

  transport::UdpDriver& driver() { return driver_; }
  const std::string& failure() const { return failure_; }
  std::uint64_t damaged() const { return damaged_; }
  transport::PathReport path_report(transport::TimePoint now);
  Bytes moved() const { return uploaded_ + downloaded_; }
  /// When the connection stood.
  transport::TimePoint connected_at() const { return connected_at_; }

 private:
  static constexpr std::uint64_t kUpload = std::uint64_t{1} << 62;  // marks tokens of uploads

  void on_event(transport::DriverEvent event);
  void ask_more();
  void answered(const transport::CallAnswered& answer);
  void finish(std::string failure);

  transport::UdpDriver driver_;
  Load load_;
  Buffer upload_;  // copied for each: making one costs more than sending it
  Done done_;
  std::optional<transport::ConnectionHandle> connection_;
  transport::TimePoint connected_at_{};
  std::uint64_t next_token_ = 1;
  Bytes upload_asked_, uploaded_, download_asked_, downloaded_;
  std::uint64_t damaged_ = 0;
  std::string failure_;
};

}  // namespace rushfs::bench
