#!/usr/bin/env python3
"""Editing programs at work over a home line: ffmpeg encodes onto the mount, and decodes from it
with a cold cache what it decodes from a local disk."""
import shutil
import subprocess

import harness

# Small pictures and short clips: what is tested is the order of reads and writes.
SOURCE = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=4",
          "-f", "lavfi", "-i", "sine=frequency=440:duration=4"]
FORMATS = {
    "prores.mov": ["-c:v", "prores_ks", "-profile:v", "0", "-c:a", "pcm_s16le"],
    "mjpeg.mov": ["-c:v", "mjpeg", "-q:v", "4", "-c:a", "pcm_s16le"],
    "plain.mp4": ["-c:v", "mpeg4", "-q:v", "4", "-c:a", "aac"],
    "faststart.mp4": ["-c:v", "mpeg4", "-q:v", "4", "-c:a", "aac", "-movflags", "+faststart"],
    "broadcast.mxf": ["-c:v", "mpeg2video", "-q:v", "4", "-c:a", "pcm_s16le", "-ar", "48000"],
}
# The same bytes at every run: no dates, no versions, one thread.
EXACT = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "1",
         "-map_metadata", "-1"]


class MediaTest(harness.TestCase):
    def ffmpeg(self, *words):
        return self.run_in(self.place.folder, "ffmpeg", "-nostdin", "-v", "error", "-y", *words)

    def frames(self, clip):
        """One line per frame with its hash."""
        return self.ffmpeg("-i", clip, "-f", "framemd5", "-")

    def test_encodes_onto_the_mount_and_decodes_from_it_cold(self):
        local = self.place.path("local")
        local.mkdir()
        mount = self.mount()
        for name, how in FORMATS.items():
            with self.subTest("encode", clip=name):
                self.ffmpeg(*SOURCE, *how, *EXACT, local / name)
                self.ffmpeg(*SOURCE, *how, *EXACT, mount.folder / name)
        mount.wait()
        for name in FORMATS:
            with self.subTest("arrived", clip=name):
                self.assertEqual(harness.digest(self.server.folder / name),
                                 harness.digest(local / name))
        mount.drop_cache()
        for name in FORMATS:
            with self.subTest("decode", clip=name):
                self.assertEqual(self.frames(mount.folder / name), self.frames(local / name))

    def test_a_growing_file_is_read_while_it_is_written(self):
        mount = self.mount()
        reader = self.mount("reader")
        clip = mount.folder / "growing.ts"
        encoder = subprocess.Popen(
            ["ffmpeg", "-nostdin", "-v", "error", "-re", *SOURCE, "-c:v", "mpeg2video", "-f",
             "mpegts", "-flush_packets", "1", str(clip)], stdin=subprocess.DEVNULL)
        self.addCleanup(encoder.kill)
        grown = reader.folder / "growing.ts"
        first = harness.wait_until(lambda: grown.exists() and grown.stat().st_size, 30, "it begins")
        harness.wait_until(lambda: grown.stat().st_size > first, 30, "it grows")
        self.assertEqual(encoder.wait(timeout=120), 0)
        mount.wait()
        size = clip.stat().st_size
        harness.wait_until(lambda: grown.stat().st_size == size, 30, "all of it is seen")
        self.assertEqual(harness.digest(grown), harness.digest(clip))


if __name__ == "__main__":
    if not shutil.which("ffmpeg"):
        print("skipped: no ffmpeg here")
        raise SystemExit(harness.SKIPPED)
    harness.main(harness.LINK)
