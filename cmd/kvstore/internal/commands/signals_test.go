//go:build !windows

package commands

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"kvstore"
)

// durableLines is the format of the message of a load that ended early.
const durableLines = "kvstore: all lines up to %d are durable: go on with --from-line %d"

// process is a running command.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
	stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), "kvstore", args...)}
	var err error
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.stdout, err = p.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	p.Stderr = &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// wait returns the status with which the process ended.
func (p *process) wait(t *testing.T) syscall.WaitStatus {
	t.Helper()
	err := p.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return p.ProcessState.Sys().(syscall.WaitStatus)
}

// numbered returns count lines, from 1.
func numbered(count int) string {
	var lines strings.Builder
	for i := range count {
		fmt.Fprintf(&lines, "%08d\t%d\n", i+1, i+1)
	}
	return lines.String()
}

// A signal stops a load that waits for input. The store has all lines up to the
// one that the load prints, and no others. --from-line continues.
func TestLoadInterrupted(t *testing.T) {
	const lines = 20_000 // more than a pipe holds: when all are written, the command reads
	dir, all := filepath.Join(t.TempDir(), "data"), numbered(lines)
	p := start(t, "load", "--dir", dir, "--format", "tsv", "-")
	if _, err := io.WriteString(p.stdin, all); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(t); status.ExitStatus() != exitInterrupted {
		t.Fatalf("exit code %d: %s", status.ExitStatus(), &p.stderr)
	}
	var durable, next int
	if _, err := fmt.Sscanf(p.stderr.String(), durableLines, &durable, &next); err != nil {
		t.Fatalf("%v in %q", err, &p.stderr)
	}
	if !strings.HasSuffix(p.stderr.String(), "\nkvstore: interrupted\n") || next != durable+1 {
		t.Errorf("%q", &p.stderr)
	}
	check(t, dir, durable)
	file := filepath.Join(t.TempDir(), "all.tsv")
	if err := os.WriteFile(file, []byte(all), 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, "load", "--dir", dir, "--quiet", "--from-line", fmt.Sprint(next), file)
	if status := p.wait(t); status.ExitStatus() != exitDone || p.stderr.Len() > 0 {
		t.Fatalf("exit code %d: %s", status.ExitStatus(), &p.stderr)
	}
	check(t, dir, lines)
}

// check fails the test unless the store has exactly the lines numbered(count).
func check(t *testing.T, dir string, count int) {
	t.Helper()
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if store.Len() != count {
		t.Errorf("%d keys, want %d", store.Len(), count)
	}
	for i := range count {
		if value, ok := store.Get(fmt.Sprintf("%08d", i+1)); !ok || string(value) != fmt.Sprint(i+1) {
			t.Fatalf("key %d is %q, %t", i+1, value, ok)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// A dump prints no error when its reader has seen enough.
func TestDumpWithoutReader(t *testing.T) {
	dir, file := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "all.tsv")
	if err := os.WriteFile(file, []byte(numbered(20_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if status := start(t, "load", "--dir", dir, file).wait(t); status.ExitStatus() != exitDone {
		t.Fatal(status.ExitStatus())
	}
	for _, command := range []string{"dump", "scan"} {
		p := start(t, command, "--dir", dir)
		if _, err := io.ReadFull(p.stdout, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := p.stdout.Close(); err != nil {
			t.Fatal(err)
		}
		if status := p.wait(t); status.Signal() != syscall.SIGPIPE || p.stderr.Len() > 0 {
			t.Errorf("%s: %v, exit code %d: %q", command, status.Signal(), status.ExitStatus(), &p.stderr)
		}
	}
}

// A restore that a signal stops leaves nothing behind.
func TestRestoreInterrupted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, "restore", "-", dir)
	if _, err := p.stdin.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(t); status.ExitStatus() != exitInterrupted {
		t.Fatalf("exit code %d: %s", status.ExitStatus(), &p.stderr)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
}

// A bench that a signal stops leaves nothing behind, and prints no results.
func TestBenchInterrupted(t *testing.T) {
	for _, sig := range endingSignals(t) {
		dir := t.TempDir()
		p := start(t, "bench", "--dir", dir, "--tmpfs", "--keys", "100", "--duration", "1h")
		for { // until its directory is there
			if entries, err := os.ReadDir(dir); err != nil || t.Context().Err() != nil {
				t.Fatal(err, &p.stderr)
			} else if len(entries) > 0 {
				break
			}
			runtime.Gosched()
		}
		if err := p.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(p.stdout)
		status := p.wait(t)
		quiet := len(out) == 0 && p.stderr.String() == "kvstore: interrupted\n"
		if status.ExitStatus() != exitInterrupted || err != nil || !quiet {
			t.Errorf("%v: exit code %d, %v: %q, %q", sig, status.ExitStatus(), err, out, &p.stderr)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%v: %v is left, %v", sig, entries, err)
		}
	}
}

// endingSignals are those that end a command. Those that the test's own starter
// ignores, such as nohup, the test catches until it ends: a process that it
// starts does not ignore them then.
func endingSignals(t *testing.T) []syscall.Signal {
	all := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	for _, s := range all {
		if signal.Ignored(s) {
			caught := make(chan os.Signal, 1)
			signal.Notify(caught, s)
			t.Cleanup(func() { signal.Stop(caught) })
		}
	}
	return all
}

// A bench whose output has no reader leaves nothing behind either, and prints
// no error.
func TestBenchWithoutReader(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "bench", "--dir", dir, "--tmpfs", "--keys", "100", "--duration", "1ms", "--writers", "1")
	if err := p.stdout.Close(); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(t); status.ExitStatus() != exitPipe || p.stderr.Len() > 0 {
		t.Errorf("exit code %d: %q", status.ExitStatus(), &p.stderr)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

// log --follow prints entries as they are written, until a signal stops it.
func TestLogFollowInterrupted(t *testing.T) {
	dir := t.TempDir()
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "log", "--dir", dir, "--follow", "-o", "ndjson")
	lines := bufio.NewScanner(p.stdout)
	for _, key := range []string{"a", "b"} {
		if err := store.Set(key, nil); err != nil {
			t.Fatal(err)
		}
		for seen := false; !seen; {
			if !lines.Scan() {
				t.Fatalf("no %q in the log: %v, %s", key, lines.Err(), &p.stderr)
			}
			seen = strings.Contains(lines.Text(), `"key":"`+key+`"`)
		}
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := p.wait(t); status.ExitStatus() != exitInterrupted || p.stderr.String() != "kvstore: interrupted\n" {
		t.Errorf("exit code %d: %q", status.ExitStatus(), &p.stderr)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
