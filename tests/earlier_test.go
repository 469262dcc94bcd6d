package tests

// This file is about going back: whether the command of an earlier build, from
// before keys had deadlines, opens what this build has written. `make earlier`
// builds that command from the history of the repository.

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kvstore"
)

// earlierEnv holds the path of the earlier build's command.
const earlierEnv = "KVSTORE_EARLIER"

// exitRefused is the command's exit code for what Open refuses, and
// laterVersion what it says if that is because of ErrVersion.
const (
	exitRefused  = 3
	laterVersion = "data has a later format version"
)

// earlierBuild is a store of this build, and the command of an earlier one.
type earlierBuild struct {
	*testing.T
	command string
	dir     string
}

func newEarlierBuild(t *testing.T) *earlierBuild {
	command := os.Getenv(earlierEnv)
	if command == "" {
		t.Skipf("SKIPPED: `make earlier` builds the command of an earlier build, and sets %s", earlierEnv)
	}
	return &earlierBuild{T: t, command: command, dir: filepath.Join(t.TempDir(), "store")}
}

func (e *earlierBuild) open() *kvstore.Store {
	e.Helper()
	s, err := kvstore.Open(e.dir)
	e.ok(err)
	e.Cleanup(func() { _ = s.Close() })
	return s
}

func (e *earlierBuild) ok(errs ...error) {
	e.Helper()
	if err := errors.Join(errs...); err != nil {
		e.Fatal(err)
	}
}

// run runs the earlier command on a directory, and returns what it has printed,
// and its exit code.
func (e *earlierBuild) run(dir string, args ...string) (output string, code int) {
	e.Helper()
	cmd := exec.CommandContext(e.Context(), e.command, append([]string{"--dir", dir}, args...)...)
	printed, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(printed), exit.ExitCode()
	}
	e.ok(err)
	return string(printed), 0
}

// copied returns a copy of the store's directory, as a process that is killed
// would leave it. Nothing may be written meanwhile.
func (e *earlierBuild) copied() string {
	e.Helper()
	dir := filepath.Join(e.TempDir(), "copy")
	e.ok(os.CopyFS(dir, os.DirFS(e.dir)))
	return dir
}

// opens checks that the earlier build finds the store sound, that it reads
// these lines of key and value, and that this build reads what it adds.
func (e *earlierBuild) opens(what string, want ...string) {
	e.Helper()
	dir := e.copied()
	if report, code := e.run(dir, "verify"); code != 0 || !strings.Contains(report, "verdict  sound\n") {
		e.Errorf("%s: verify says, with exit code %d:\n%s", what, code, report)
	}
	got, code := e.run(dir, "dump", "--sorted", "--format", "tsv", "-")
	if code != 0 || got != strings.Join(want, "") {
		e.Errorf("%s: exit code %d, dumped %q, want %q", what, code, got, want)
	}
	if output, code := e.run(dir, "set", "from", "the earlier build"); code != 0 {
		e.Fatalf("%s: set ends with exit code %d: %s", what, code, output)
	}
	s, err := kvstore.Open(dir)
	e.ok(err)
	if value, _ := s.Get("from"); string(value) != "the earlier build" || s.Len() != len(want)+1 {
		e.Errorf("%s: %d keys, %q", what, s.Len(), value)
	}
	e.ok(s.Close())
}

// refuses checks that the earlier build refuses the store as one of a later
// version, and changes nothing.
func (e *earlierBuild) refuses(what string) {
	e.Helper()
	dir := e.copied()
	before := e.content(dir)
	for _, args := range [][]string{{"verify"}, {"dump", "-"}, {"set", "key", "value"}} {
		if output, code := e.run(dir, args...); code != exitRefused || !strings.Contains(output, laterVersion) {
			e.Errorf("%s: %s ends with exit code %d: %s", what, args[0], code, output)
		}
	}
	if after := e.content(dir); after != before {
		e.Errorf("%s: files have changed", what)
	}
}

// content returns the names and bytes of all files but LOCK.
func (e *earlierBuild) content(dir string) string {
	e.Helper()
	entries, err := os.ReadDir(dir)
	e.ok(err)
	var all strings.Builder
	for _, entry := range entries {
		if entry.Name() == "LOCK" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		e.ok(err)
		all.WriteString(entry.Name())
		all.Write(data)
	}
	return all.String()
}

// A store that never had a deadline is what it was before.
func TestEarlierBuildOpensPlainStores(t *testing.T) {
	e := newEarlierBuild(t)
	s := e.open()
	e.opens("empty")
	e.ok(s.Set("a", []byte("1")), s.Set("gone", nil), s.Delete("gone"))
	e.opens("log", "a\t1\n")
	e.ok(s.Snapshot(context.Background()))
	e.opens("snapshot", "a\t1\n")
	swapped, err := s.CompareAndSwap("a", []byte("1"), []byte("2"))
	e.ok(err)
	if !swapped {
		t.Error("not swapped")
	}
	_, err = s.Add("n", 7)
	e.ok(err, s.Update(context.Background(), func(tx *kvstore.Tx) error {
		tx.Expire("absent", time.Now().Add(time.Hour)) // writes nothing
		tx.Set("b", []byte("3"))
		return nil
	}))
	_, err = s.Expire("absent", time.Time{})
	e.ok(err)
	e.opens("snapshot and log", "a\t2\n", "b\t3\n", "n\t7\n")
	e.ok(s.Close())
	e.opens("closed", "a\t2\n", "b\t3\n", "n\t7\n")
	e.ok(e.open().Close())
	e.opens("opened and closed", "a\t2\n", "b\t3\n", "n\t7\n")
}

// A store with deadlines is refused, until a snapshot of a store without them
// covers the log.
func TestEarlierBuildRefusesDeadlines(t *testing.T) {
	e := newEarlierBuild(t)
	s := e.open()
	e.ok(s.Set("a", []byte("1")), s.SetFor("b", []byte("2"), time.Hour))
	e.refuses("log with a deadline")
	e.ok(s.Snapshot(context.Background()))
	e.refuses("snapshot with a deadline")
	e.ok(s.Close())
	e.refuses("closed with a deadline")

	s = e.open()
	found, err := s.Expire("b", time.Time{})
	e.ok(err)
	if !found {
		t.Error("the key is gone")
	}
	e.refuses("log behind a snapshot with a deadline")
	e.ok(s.Snapshot(context.Background()))
	e.opens("the deadline was removed", "a\t1\n", "b\t2\n")
	e.ok(s.Close())
	e.opens("closed after that", "a\t1\n", "b\t2\n")

	s = e.open()
	_, err = s.Expire("b", s.Now().Add(time.Hour))
	e.ok(err)
	e.refuses("log with a deadline of a key that was there")
	e.ok(s.Do(context.Background(), func(tx *kvstore.Tx) error {
		tx.SetNow(tx.Now().Add(2 * time.Hour))
		if n := tx.DeleteDue("b"); n != 1 {
			t.Errorf("%d keys were due", n)
		}
		return nil
	}))
	e.refuses("log with an expiration")
	e.ok(s.Close())
	e.opens("closed after the expiration", "a\t1\n")
}
