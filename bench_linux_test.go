package kvstore_test

import (
	"syscall"
	"testing"
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
