package kvstore_test

import (
	"syscall"
	"testing"
	"time"
)

// onTmpfs reports whether the directory lies on a tmpfs, in memory.
func onTmpfs(b *testing.B, dir string) bool {
	b.Helper()
	const tmpfsMagic = 0x01021994
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		b.Fatal(err)
	}
	return uint32(fs.Type) == tmpfsMagic // its width differs between platforms
}

// processorTime returns the time for which this process has had a processor, in
// the kernel too.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
