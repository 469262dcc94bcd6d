//go:build !arm

package vfs

import (
	"os"
	"testing"
)

// A pipe does not know sync_file_range: there is nothing to be had early, and the sync tells the rest. A file that is closed is an error.
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
		t.Error("WriteBack on a pipe, which cannot be synced, tells nothing")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := newOSFile(w).StartWrite(0, 1); err == nil {
		t.Error("StartWrite on a closed file tells nothing")
	}
}
