//go:build !arm

package vfs

import (
	"os"
	"testing"
)

// A pipe does not support sync_file_range, which is no error of StartWrite: the
// next Sync returns what is wrong. A closed file is an error.
func TestStartWriteWhereThereIsNone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := newOSFile(w).StartWrite(0, 1); err != nil {
		t.Errorf("StartWrite on a pipe: %v", err)
	}
	if err := newOSFile(w).WriteBack(0, 1); err == nil {
		t.Error("WriteBack on a pipe, which cannot be synced, returns no error")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := newOSFile(w).StartWrite(0, 1); err == nil {
		t.Error("StartWrite on a closed file returns no error")
	}
}
