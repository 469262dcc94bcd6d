package kvstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kvstore"
)

// The message of an Open that refuses a damaged directory names the commands
// that help. For a damaged backup they do not.
func TestCorruptErrorNamesTheCommands(t *testing.T) {
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "wal-00000000000000000001.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	store, openErr := kvstore.Open(damaged)
	if openErr == nil {
		t.Fatal(store.Close())
	}
	for _, row := range []struct {
		name  string
		err   error
		names bool
	}{
		{"Open", openErr, true},
		{"Restore", kvstore.Restore(t.TempDir(), strings.NewReader("no backup")), false},
	} {
		if !errors.Is(row.err, kvstore.ErrCorrupt) {
			t.Errorf("%s: %v", row.name, row.err)
		}
		for _, command := range []string{"'kvstore verify'", "'kvstore salvage'"} {
			if names := strings.Contains(row.err.Error(), command); names != row.names {
				t.Errorf("%s: %v: names %s: %v, want %v", row.name, row.err, command, names, row.names)
			}
		}
	}
}
