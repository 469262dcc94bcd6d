//go:build amd64 || arm64

package vfs

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// startedFile returns a new file with a sync under way. It fails where that is
// impossible: kernels without it are rare, and tests do not run in sandboxes
// that refuse it.
func startedFile(t *testing.T) osFile {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	f := newOSFile(file)
	if _, err := f.WriteAt([]byte("something"), 0); err != nil {
		t.Fatal(err)
	}
	if f.StartSync(); f.started.context == 0 {
		t.Fatal("no sync is under way")
	}
	return f
}

// isIdle reports whether a context may be used again and no sync is under way
// in it.
func isIdle(t *testing.T, context uintptr) bool {
	t.Helper()
	s := startedSync{context: context, number: 1 << 40}
	null, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if err := s.submit(int(null.Fd())); err != nil {
		t.Fatal(err)
	}
	event, err := s.wait()
	if err != nil {
		t.Fatal(err)
	}
	contexts.mu.Lock()
	defer contexts.mu.Unlock()
	return event.data == s.number && slices.Contains(contexts.idle, context)
}

// When Sync or Close returns, a sync that was begun has ended and its context
// is free.
func TestStartedSyncIsWaitedFor(t *testing.T) {
	f := startedFile(t)
	for range 100 {
		f.StartSync()
		context := f.started.context
		if err := f.Sync(); err != nil || f.started.context != 0 {
			t.Fatalf("Sync: %v, and a sync is under way: %t", err, f.started.context != 0)
		}
		if !isIdle(t, context) {
			t.Fatal("Sync returned too early, or keeps the context")
		}
	}
	f.StartSync()
	context := f.started.context
	if err := f.Close(); err != nil || !isIdle(t, context) {
		t.Fatalf("Close: %v, or it has returned too early", err)
	}
}

// Sync returns the result of the sync that was begun, and of no other.
func TestStartedSyncReturnsTheResult(t *testing.T) {
	f := startedFile(t)
	f.started.number++ // not the number of the sync that is under way
	if err := f.Sync(); err == nil {
		t.Error("the end of another sync is taken for the end of this one")
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if done, err := f.started.settle(); done || err != nil {
		t.Errorf("where none was begun: %t, %v", done, err)
	}
	f.StartSync()
	if done, err := f.started.settle(); !done || err != nil {
		t.Errorf("after a sync that has nothing left to do: %t, %v", done, err)
	}
	f.StartSync()
	if _, err := f.WriteAt([]byte("more"), 0); err != nil {
		t.Fatal(err)
	}
	if done, err := f.started.settle(); done || err != nil {
		t.Errorf("after a sync that began before the last write: %t, %v", done, err)
	}
	f.StartSync()
	if err := f.Allocate(1 << 20); err != nil {
		t.Fatal(err)
	}
	if done, err := f.started.settle(); done || err != nil {
		t.Errorf("after a sync that began before the file was made longer: %t, %v", done, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// The result of a failed sync is the negative error number.
func TestStartedSyncResult(t *testing.T) {
	err := (ioEvent{result: -int64(syscall.EIO)}).err()
	if err != syscall.EIO { //nolint:errorlint // it must be this very error
		t.Errorf("of -EIO: %v", err)
	}
	if err := (ioEvent{}).err(); err != nil {
		t.Errorf("of 0: %v", err)
	}
}

// A pipe cannot be synced: StartSync begins nothing, and Sync returns the
// error. The same holds for a closed file.
func TestStartSyncWhereThereIsNone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	f := newOSFile(w)
	for range 2 {
		before := len(contexts.idle)
		if f.StartSync(); f.started.context != 0 || len(contexts.idle) < max(before, 1) {
			t.Error("a sync has begun where none is possible, or its context is lost")
		}
		if err := f.Sync(); err == nil {
			t.Error("a pipe has been synced")
		}
		_ = w.Close()
	}
}
