// rushfs mount, and mount.rushfs as mount(8) calls it.
#include "fs/mount/mount.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "cache/folder_lock.h"
#include "fs/mount/mount_memory.h"
#include "tools/command.h"
#include "tools/control_client.h"
#include "tools/credentials.h"
#include "tools/daemon.h"
#include "tools/default_files.h"
#include "tools/explain.h"
#include "tools/log.h"
#include "tools/mount_control.h"
#include "tools/process.h"
#include "tools/server_connection.h"
#include "transport/heap.h"

namespace rushfs::tools {
namespace {

namespace file = std::filesystem;

/// As kConnectPatience, and for the export after it.
constexpr auto kAttachPatience = std::chrono::seconds(12);
/// A mount that was taken down with umount(8) goes on for a moment, to put its cache away.
constexpr auto kPutAwayPatience = std::chrono::seconds(10);
constexpr auto kPutAwayPoll = std::chrono::milliseconds(20);

struct Arguments {
  std::string source;
  std::string directory;
  std::vector<std::string> options;
  bool foreground = false;
};

/// What connecting, and explaining why it failed, takes.
struct Connecting {
  transport::HostPort server;
  Credentials credentials;
  std::chrono::milliseconds patience;
};

/// The directory as the kernel will name it. It must be there, and not be a mount of ours already.
file::path check_mount_point(const std::string& directory) {
  const auto mounts = read_mount_table();
  const file::path path = absolute_path(directory, mounts);
  for (const MountEntry& mount : mounts) {
    if (mount.mount_point != path) continue;
    throw CommandError(ExitCode::failure,
                       fmt::format("{} is mounted on {} already. rushfs status shows it; rushfs "
                                   "unmount {} takes it down.", mount.source, path.string(),
                                   path.string()));
  }
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) {
    throw CommandError(ExitCode::failure, fmt::format("{}: {}. The folder to mount on must exist.",
                                                      path.string(), std::strerror(errno)));
  }
  if (!S_ISDIR(facts.st_mode)) {
    throw CommandError(ExitCode::failure, path.string() + " is not a directory.");
  }
  return path;
}

std::vector<std::string> fuse_options(const MountOptions& options) {
  std::vector<std::string> result = options.kernel;
  if (options.no_exec) result.emplace_back("noexec");
  result.emplace_back(options.no_suid ? "nosuid" : "suid");
  result.emplace_back(options.no_device ? "nodev" : "dev");
  return result;
}

/// Where the name cannot be looked up (a laptop without a network), the addresses of last time.
std::vector<transport::Address> find_server(const transport::HostPort& server,
                                            const file::path& cache_directory) {
  try {
    return resolve_server(server);
  } catch (const CommandError&) {
    if (auto memory = fs::recall(cache_directory)) return std::move(memory->servers);
    throw;
  }
}

fs::MountConfig mount_config(const RemoteLocation& location, const file::path& mount_point,
                             const MountOptions& options, const Credentials& credentials) {
  fs::MountConfig config;
  config.server_name = transport::to_string(location.server);
  config.export_name = location.export_name;
  config.subdirectory = location.subdirectory;
  config.mount_point = mount_point;
  config.endpoint.identity = credentials.identity;
  config.endpoint.rate = options.rate;
  config.udp.dscp = options.dscp;
  config.expected_server = credentials.expect(location.server);
  const file::path cache = options.cache_dir ? file::absolute(*options.cache_dir)
                                             : default_cache_directory();
  config.cache_directory = mount_cache_directory(cache, location, mount_point);
  config.servers = find_server(location.server, config.cache_directory);
  config.cache_size = options.cache_size.count;
  config.timeout = std::chrono::duration_cast<std::chrono::seconds>(options.connect.timeout);
  config.allow_other = options.allow_other;
  config.tell_watchers = options.tell_watchers;
  config.read_only = options.read_only;
  config.access_times = options.access_times;
  config.fuse_options = fuse_options(options);
  return config;
}

/// While there is a terminal to say on what is wrong.
void connect(fs::Mount& mount, const Connecting& connecting) {
  const auto begin = transport::Clock::now();
  try {
    if (mount.connect(connecting.patience)) return;
  } catch (const fs::ConnectFailure& failure) {
    throw explain_failure(connecting.server,
                          {{},
                           failure.server_key,
                           failure.reason,
                           failure.network_error,
                           transport::Clock::now() - begin},
                          connecting.credentials, key_comment());
  }
  fmt::print(stderr,
             "rushfs: {} cannot be reached now. The folder is there with what is known of it; "
             "the rest comes when the server does. rushfs status tells.\n",
             transport::to_string(connecting.server));
}

/// Finds the mount just made, by its place.
MountEntry own_entry(const file::path& mount_point) {
  for (const MountEntry& entry : read_mount_table()) {
    if (entry.mount_point == mount_point) return entry;
  }
  throw CommandError(ExitCode::failure,
                     mount_point.string() + " was unmounted again at once by somebody else.");
}

/// Opens the cache, once the mount that was here before has put it away.
std::unique_ptr<fs::Mount> open_mount(const fs::MountConfig& config) {
  const auto until = std::chrono::steady_clock::now() + kPutAwayPatience;
  while (true) {
    try {
      return std::make_unique<fs::Mount>(config);
    } catch (const cache::FolderInUse&) {
      if (std::chrono::steady_clock::now() >= until) throw;
    }
    std::this_thread::sleep_for(kPutAwayPoll);
  }
}

void run_mount(const fs::MountConfig& config, const Connecting& connecting, bool foreground) {
  Daemon daemon(foreground);
  if (foreground) {
    log_to_terminal();
  } else {
    log_to_system("rushfs");
  }
  const file::path mount_point = config.mount_point;
  file::create_directories(config.cache_directory.parent_path());
  const transport::RateLimits rate = config.endpoint.rate;
  const auto opened = open_mount(config);
  fs::Mount& mount = *opened;
  connect(mount, connecting);
  mount.start();
  const MountEntry entry = own_entry(mount_point);
  const auto socket = runtime_directory() / fmt::format("{}-{}.sock", entry.device_major,
                                                        entry.device_minor);
  ControlServer control(mount.file_loop(), socket, mount_control(mount, rate));
  boost::asio::signal_set signals(mount.file_loop(), SIGINT, SIGTERM);
  signals.async_wait([&mount](const boost::system::error_code& error, int) {
    if (!error) mount.stop();
  });
  boost::asio::post(mount.file_loop(), [&daemon, foreground, &mount_point] {
    daemon.ready();
    if (foreground) fmt::print(stderr, "rushfs: mounted on {}\n", mount_point.string());
  });
  transport::give_back_idle_memory();
  mount.run();
}

/// What the kernel checks itself can be changed while it is mounted: ro, nosuid, nodev, noexec.
ExitCode remount(const std::string& directory, const MountOptions& options) {
  const auto mounts = read_mount_table();
  const file::path path = absolute_path(directory, mounts);
  const bool ours = std::ranges::any_of(
      mounts, [&](const MountEntry& mount) { return mount.mount_point == path; });
  if (!ours) throw CommandError(ExitCode::not_mounted, path.string() + " is not mounted.");
  unsigned long flags = MS_REMOUNT;
  if (options.read_only) flags |= MS_RDONLY;
  if (options.no_exec) flags |= MS_NOEXEC;
  if (options.no_suid) flags |= MS_NOSUID;
  if (options.no_device) flags |= MS_NODEV;
  if (std::ranges::find(options.kernel, "noatime") != options.kernel.end()) flags |= MS_NOATIME;
  if (::mount(nullptr, path.c_str(), nullptr, flags, nullptr) != 0) {
    throw CommandError(ExitCode::failure, fmt::format("Cannot remount {}: {}.", path.string(),
                                                      std::strerror(errno)));
  }
  return ExitCode::success;
}

ExitCode mount(const Arguments& arguments) {
  const RemoteLocation location = parse_location(arguments.source);
  const MountOptions options = parse_mount_options(arguments.options);
  if (options.remount) return remount(arguments.directory, options);
  const file::path mount_point = check_mount_point(arguments.directory);
  const Credentials credentials = load_credentials(options.connect);
  const auto patience = std::min<std::chrono::milliseconds>(
      std::chrono::duration_cast<std::chrono::milliseconds>(options.connect.timeout),
      kAttachPatience);
  protect_process();
  run_mount(mount_config(location, mount_point, options, credentials),
            {location.server, credentials, patience}, arguments.foreground);
  return ExitCode::success;
}

ExitCode as_mount_helper(ExitCode code) {
  if (code == ExitCode::success) return code;
  return code == ExitCode::usage ? ExitCode::mount_helper_usage : ExitCode::mount_helper_failure;
}

}  // namespace

void add_mount(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "mount",
      "Mount an export of a server on a local folder. Connects first and says what is wrong; then\n"
      "goes to the background and returns when the folder can be used. A folder that was mounted\n"
      "before is mounted again also while its server cannot be reached. What is written is sent\n"
      "in the background and survives a crash: rushfs wait and rushfs status tell what arrived.");
  command->footer(
      "Options after -o, separated by commas (sizes 500M, 64G; rates 500M = 500 Mbit/s):\n"
      "  identity=FILE     our private key              known_hosts=FILE  servers we trust\n"
      "  cache_dir=DIR     where the cache is kept      cache_size=64G    what it may take\n"
      "  rate=500M         never faster, each way       min_rate=50M      never slower\n"
      "  policy=fair       fixed, high, fair or low     timeout=60s       of one file operation\n"
      "  allow_other       other users may use it too   ro                read only\n"
      "  dscp=8            marks datagrams, 0 to 63     noinotify         see rushfs(1)\n"
      "and the generic ones of mount(8) and fstab(5): noatime, nosuid, _netdev, nofail, x-...\n"
      "\n"
      "Examples:\n"
      "  rushfs mount studio.example:/footage /mnt/footage\n"
      "  rushfs mount studio.example:9000:/footage/day12 ~/day12 -o ro,cache_size=200G\n"
      "  rushfs mount [2001:db8::7]:/footage /mnt/footage -o policy=low,rate=50M\n"
      "In fstab:\n"
      "  studio.example:/footage /mnt/footage rushfs _netdev,nofail,x-systemd.automount 0 0");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("source", arguments->source, "HOST[:PORT]:/NAME[/SUB]")->required();
  command->add_option("dir", arguments->directory, "the folder to mount on")->required();
  command->add_option("-o", arguments->options, "mount options, see below")
      ->allow_extra_args(false);
  command->add_flag("--foreground,-f", arguments->foreground,
                    "stay in the foreground and log to the terminal");
  command->callback([&action, arguments] { action = [arguments] { return mount(*arguments); }; });
}

int run_mount_helper(int argc, char** argv) {
  Arguments arguments;
  bool fake = false;
  int option = 0;
  while ((option = getopt(argc, argv, "sfnvwro:t:N:")) != -1) {
    switch (option) {
      case 'o': arguments.options.emplace_back(optarg); break;
      case 'r': arguments.options.emplace_back("ro"); break;
      case 'f': fake = true; break;  // mount(8) -f: all but the mounting
      default: break;  // -s, -n, -v, -w, -t, -N mean nothing here
    }
  }
  try {
    // getopt has moved what is not an option to the end.
    if (argc - optind != 2) throw usage_error("Usage: mount.rushfs HOST:/NAME DIR [-o OPTIONS]");
    arguments.source = argv[optind];
    arguments.directory = argv[optind + 1];
    if (fake) {
      parse_location(arguments.source);
      parse_mount_options(arguments.options);
      return 0;
    }
    return static_cast<int>(as_mount_helper(mount(arguments)));
  } catch (const CommandError& error) {
    std::fprintf(stderr, "mount.rushfs: %s\n", error.what());
    return static_cast<int>(as_mount_helper(error.exit_code()));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mount.rushfs: %s\n", error.what());
    return static_cast<int>(ExitCode::mount_helper_failure);
  }
}

}  // namespace rushfs::tools
