package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// missingLayer skips a test that cannot run here, and says so. In CI, which
// promises all tests, it fails instead.
func missingLayer(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("KVSTORE_REQUIRE_LAYERS") != "" {
		t.Fatalf("NOT POSSIBLE HERE: "+format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}

// smallDisk returns a directory on a disk of size bytes, and a function that
// changes the size.
func smallDisk(t *testing.T, size int) (dir string, resize func(size int)) {
	t.Helper()
	dir = t.TempDir()
	switch err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprint("size=", size)); {
	case errors.Is(err, syscall.EPERM):
		missingLayer(t, "mounting needs root")
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, func(size int) {
		t.Helper()
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprint("size=", size)); err != nil {
			t.Fatal(err)
		}
	}
}

// A load that fills the disk prints the line up to which everything is durable.
// That much can be read at once. When there is room again, --from-line
// continues.
func TestLoadFillsTheDisk(t *testing.T) {
	const lines = 200_000               // 7 MB of log
	disk, resize := smallDisk(t, 6<<20) // room for two batches, which may be one group
	dir, file := filepath.Join(disk, "data"), filepath.Join(t.TempDir(), "all.tsv")
	if err := os.WriteFile(file, []byte(numbered(lines)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "load", "--dir", dir, file)
	if status := p.wait(t); status.ExitStatus() != exitIO {
		t.Fatalf("exit code %d: %s", status.ExitStatus(), &p.stderr)
	}
	if !strings.Contains(p.stderr.String(), syscall.ENOSPC.Error()) {
		t.Errorf("the reason is not in %q", &p.stderr)
	}
	var durable, next int
	if _, err := fmt.Sscanf(p.stderr.String(), durableLines, &durable, &next); err != nil {
		t.Fatalf("%v in %q", err, &p.stderr)
	}
	if durable == 0 || durable >= lines || next != durable+1 {
		t.Fatalf("durable up to %d of %d, next %d", durable, lines, next)
	}
	p = start(t, "get", "--dir", dir, "-o", "raw", fmt.Sprintf("%08d", durable))
	var value bytes.Buffer
	if _, err := value.ReadFrom(p.stdout); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(t); status.ExitStatus() != exitDone ||
		strings.TrimSpace(value.String()) != fmt.Sprint(durable) {
		t.Fatalf("exit code %d, value %q: %s", status.ExitStatus(), &value, &p.stderr)
	}
	resize(64 << 20)
	p = start(t, "load", "--dir", dir, "--quiet", "--from-line", fmt.Sprint(next), file)
	if status := p.wait(t); status.ExitStatus() != exitDone || p.stderr.Len() > 0 {
		t.Fatalf("exit code %d: %s", status.ExitStatus(), &p.stderr)
	}
	check(t, dir, lines)
}

// TestSetWithLittleRoom: a write that is durable succeeds, although there is no
// room for the snapshot at the end. A write for which there is no room fails.
func TestSetWithLittleRoom(t *testing.T) {
	disk, resize := smallDisk(t, 64<<20)
	dir := filepath.Join(disk, "data")
	value := bytes.Repeat([]byte("x"), 6<<20)
	set := func(key string, value []byte) (code int, messages string) {
		var stderr bytes.Buffer
		code = Run([]string{"set", "--dir", dir, key, "-"}, bytes.NewReader(value), io.Discard, &stderr)
		return code, stderr.String()
	}
	if code, messages := set("large", value); code != exitDone || messages != "" {
		t.Fatalf("exit code %d: %s", code, messages)
	}
	resize(11 << 20)
	if code, messages := set("small", []byte("1")); code != exitDone ||
		!strings.Contains(messages, "no room for a snapshot") {
		t.Errorf("exit code %d: %s", code, messages)
	}
	var out bytes.Buffer
	code := Run([]string{"get", "--dir", dir, "small"}, nil, &out, io.Discard)
	if code != exitDone || out.String() != "1" {
		t.Errorf("exit code %d: %q", code, &out)
	}
	if code, messages := set("too large", value); code != exitIO {
		t.Errorf("exit code %d: %s", code, messages)
	}
}
