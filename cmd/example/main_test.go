package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"kvstore"
)

// binary is the example, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kvstore-example-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "example.exe") // only Windows needs the suffix
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// command prepares a run of the example. A file that the run leaves in the
// system's directory for temporary files is an error.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	tmp := t.TempDir()
	t.Cleanup(func() {
		if left := names(t, tmp); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp)
	return cmd
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// succeed runs the example and returns what it printed.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// refuse runs the example, which must fail with this exit code, and returns its
// standard error.
func refuse(t *testing.T, code int, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := command(t, args...)
	cmd.Stderr = &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != code {
		t.Fatalf("ended with %v, want exit code %d\n%s", err, code, &stderr)
	}
	return stderr.String()
}

func expect(t *testing.T, out string, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("no %q in\n%s", pattern, out)
		}
	}
}

func writeText(t *testing.T, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// numbered returns n different lines.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("line " + strconv.Itoa(i) + "\n")
	}
	return b.String()
}

func TestTellsTheStory(t *testing.T) {
	// 100 different lines, of which one is empty and one is not UTF-8; three
	// more lines that repeat some; and no line feed at the end.
	text := numbered(97) + "\nline 5\n\r\n\xff\xfe\x00\nline 5\r\nlast"
	out := succeed(t, writeText(t, text))
	expect(
		t, out,
		`text: .*, 103 lines, 100 different ones`,
		`wrote: +100 keys from 64 goroutines in .*: [1-9]\d* durable writes/s`+
			`\n +[1-9]\d* fsyncs, [1-9]\d*\.\d writes per fsync`,
		`read: +100 keys`,
		`deleted: +10 keys, 90 are left`,
		`killed: +process \d+, without Close`,
		`reopened: in .*: no snapshot, and 110 writes in [1-9]\d* groups replayed from the log\nchecked: +90 keys`,
		`reopened: in .*: snapshot-\d+\.kvs, and 0 writes in 0 groups replayed from the log\nchecked: +90 keys`,
	)
}

func TestWithoutFileTakesATextOfGo(t *testing.T) {
	expect(t, succeed(t), `text: .*tables\.go, \d{4,} lines`, `checked: +\d{4,} keys`)
}

func TestEmptyFile(t *testing.T) {
	expect(t, succeed(t, writeText(t, "")), `0 lines`, `wrote: +0 keys`, `checked: +0 keys`)
}

func TestLineTooLongForAKeyIsLeftOut(t *testing.T) {
	longest := strings.Repeat("x", kvstore.MaxKeyBytes)
	out := succeed(t, writeText(t, "first\n"+longest+"y\n"+longest+"\n"))
	expect(
		t, out,
		`left out: line 2, its 65536 bytes are more than the 65535 of the longest key`,
		`text: .*, 3 lines, 2 different ones that fit`,
		`checked: +2 keys`,
	)
}

func TestKeepsAGivenDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "store")
	succeed(t, "-dir", dir, writeText(t, numbered(20)))
	checkStore(t, dir, 18, "line 0", "1")

	// The same directory with another text. The old keys are still there.
	out := succeed(t, "-dir", dir, writeText(t, "line 0\nhello\nline 0\n"))
	expect(
		t, out,
		`wrote: +2 keys`, `deleted: +0 keys, 19 are left`,
		`reopened: in .*: snapshot-\d+\.kvs, and 2 writes`,
	)
	checkStore(t, dir, 19, "line 0", "1 3")
}

func checkStore(t *testing.T, dir string, keys int, key, want string) {
	t.Helper()
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := store.Len(); got != keys {
		t.Errorf("%d keys, want %d", got, keys)
	}
	if value, ok := store.Get(key); !ok || string(value) != want {
		t.Errorf("Get(%q) = %q, %t, want %q", key, value, ok, want)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func TestMissingFile(t *testing.T) {
	expect(t, refuse(t, 1, "no-such-file"), `^example: .*no-such-file`)
}

func TestTooManyArguments(t *testing.T) {
	expect(t, refuse(t, 2, "one", "two"), `^usage: example`)
}

func TestUnusableDirectory(t *testing.T) {
	file := writeText(t, "a text, not a directory")
	expect(t, refuse(t, 1, "-dir", file, file), `^example: kvstore: `)
}

func TestLockedDirectory(t *testing.T) {
	dir := t.TempDir()
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, refuse(t, 1, "-dir", dir, writeText(t, "text")), `^example: kvstore: data directory is locked`)
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func TestInterruptLeavesNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED, NOT TESTED HERE: Windows cannot send an interrupt to one process")
	}
	// With this many lines the example is not near its end when the interrupt
	// arrives.
	cmd := command(t, writeText(t, numbered(300_000)))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "store:") {
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(stdout)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("ended well\n%s", rest)
	}
	expect(t, stderr.String(), `^example: interrupted\n$`)
}
