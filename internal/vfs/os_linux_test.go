package vfs_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"kvstore/internal/vfs"
)

// Only regular files are opened, also through a link within the directory.
// Nothing waits for the writer of a FIFO.
func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	for _, c := range []struct {
		kind string
		put  func(path string) error
		ok   bool
	}{
		{"file", func(path string) error { return os.WriteFile(path, nil, 0o600) }, true},
		{"link inside", func(path string) error { return os.Symlink("target", path) }, true},
		{"link outside", func(path string) error { return os.Symlink("../outside", path) }, false},
		{"absolute link", func(path string) error {
			return os.Symlink(filepath.Join(filepath.Dir(path), "../outside"), path)
		}, false},
		{"absolute link inside", func(path string) error {
			return os.Symlink(filepath.Join(filepath.Dir(path), "target"), path)
		}, false},
		{"link to nothing", func(path string) error { return os.Symlink("nothing", path) }, false},
		{"link to itself", func(path string) error { return os.Symlink("file", path) }, false},
		{"directory", func(path string) error { return os.Mkdir(path, 0o700) }, false},
		{"FIFO", func(path string) error { return unix.Mkfifo(path, 0o600) }, false},
		{"socket", func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o600, 0) }, false},
	} {
		t.Run(c.kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			err := errors.Join(os.Mkdir(path, 0o700),
				os.WriteFile(filepath.Join(path, "target"), nil, 0o600),
				os.WriteFile(filepath.Join(path, "../outside"), nil, 0o600),
				c.put(filepath.Join(path, "file")))
			if err != nil {
				t.Fatal(err)
			}
			dir, err := vfs.OS{}.OpenDir(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = dir.Close() }()
			wantOpened(t, "OpenRead", c.ok, func() (io.Closer, error) { return dir.OpenRead("file") })
			wantOpened(t, "Open", c.ok, func() (io.Closer, error) { return dir.Open("file") })
			wantOpened(t, "Lock", c.ok, func() (io.Closer, error) { return dir.Lock("file", false) })
		})
	}
}

// wantOpened requires that open succeeds if ok, and fails otherwise.
func wantOpened(t *testing.T, what string, ok bool, open func() (io.Closer, error)) {
	t.Helper()
	f, err := open()
	if err == nil {
		err = f.Close()
	}
	if (err == nil) != ok {
		t.Errorf("%s: %v", what, err)
	}
}
