// Part of rushfs::transport.
