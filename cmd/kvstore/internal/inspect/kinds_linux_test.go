package inspect

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"kvstore/internal/format"
)

// kind is what may stand in place of a file of a store.
type kind struct {
	name string
	put  func(path string) error // the file is at path, in a directory of its own
}

// link returns a kind: a symbolic link to the file, which is moved. Both paths
// are relative to the store's directory.
func link(name, to, text string) kind {
	return kind{name, func(path string) error {
		return errors.Join(os.Rename(path, filepath.Join(filepath.Dir(path), to)), os.Symlink(text, path))
	}}
}

// instead returns a kind: something else than the file.
func instead(name string, put func(path string) error) kind {
	return kind{name, func(path string) error { return errors.Join(os.Remove(path), put(path)) }}
}

func replacements() []kind {
	return []kind{
		{"file", func(string) error { return nil }},
		link("link inside", "moved", "moved"),
		link("link that leaves and returns", "moved", "../db/moved"),
		link("link outside", "../moved", "../moved"),
		{"absolute link inside", func(path string) error {
			moved := filepath.Join(filepath.Dir(path), "moved")
			return errors.Join(os.Rename(path, moved), os.Symlink(moved, path))
		}},
		{"absolute link outside", func(path string) error {
			moved := filepath.Join(filepath.Dir(path), "../moved")
			return errors.Join(os.Rename(path, moved), os.Symlink(moved, path))
		}},
		instead("link to nothing", func(path string) error { return os.Symlink("nothing", path) }),
		instead("link to itself", func(path string) error { return os.Symlink(filepath.Base(path), path) }),
		instead("FIFO", func(path string) error { return unix.Mkfifo(path, 0o600) }),
		instead("directory", func(path string) error { return os.Mkdir(path, 0o700) }),
		instead("socket", func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o600, 0) }),
		{"unreadable", func(path string) error { return os.Chmod(path, 0) }}, // to other users than root
	}
}

// Verify and Salvage open what Open opens, and refuse what Open refuses,
// whatever stands in place of a file. None of them hangs.
func TestKindsOfFiles(t *testing.T) {
	for _, k := range replacements() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel() // the test mostly waits for the disk
			for _, whole := range images(rand.New(rand.NewPCG(1, 2))) {
				whole.files[format.LockName] = nil
				for _, name := range slices.Sorted(maps.Keys(whole.files)) {
					dir := filepath.Join(t.TempDir(), "db")
					whole.write(t, dir)
					if err := k.put(filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
					wantVerdictOfOpen(t, dir)
					wantSalvageOfOpen(t, dir)
					wantLogEnds(t, dir)
					if t.Failed() {
						t.Fatal(name)
					}
				}
			}
		})
	}
}

// wantLogEnds requires that printing the log ends, with an error or without. A
// log that is followed is canceled when everything was read.
func wantLogEnds(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	idle := func() error {
		cancel()
		return nil
	}
	_ = Log(ctx, dir, false, func(*Record) error { return nil }, idle)
	_ = Log(ctx, dir, true, func(*Record) error { return ctx.Err() }, idle)
}
