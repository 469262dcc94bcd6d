package commands

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lockwait"
	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// waiters are all commands: their arguments, and the directory that another
// process has locked.
var waiters = map[string]struct {
	args   []string
	locked string
	waits  bool // for the lock
}{
	"get":      {[]string{"get", "a"}, "data", true},
	"set":      {[]string{"set", "a", "2"}, "data", true},
	"ttl":      {[]string{"ttl", "a"}, "data", true},
	"expire":   {[]string{"expire", "--ttl", "1h", "a"}, "data", true},
	"persist":  {[]string{"persist", "a"}, "data", true},
	"delete":   {[]string{"delete", "a"}, "data", true},
	"scan":     {[]string{"scan"}, "data", true},
	"count":    {[]string{"count"}, "data", true},
	"load":     {[]string{"load", "lines"}, "data", true},
	"dump":     {[]string{"dump", "file"}, "data", true},
	"stats":    {[]string{"stats"}, "data", true},
	"snapshot": {[]string{"snapshot"}, "data", true},
	"backup":   {[]string{"backup", "file"}, "data", true},
	"restore":  {[]string{"restore", "backup.kvs", "made"}, "made", true},
	"salvage":  {[]string{"salvage", "source", "made"}, "made", true},
	"log":      {[]string{"log"}, "data", false},
	"verify":   {[]string{"verify"}, "data", false},
	"version":  {[]string{"version"}, "data", false},
	"bench":    {nil, "", false}, // it works in a directory of its own
}

// makeWaitPlaces makes what the arguments of waiters name.
func makeWaitPlaces(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, args := range [][]string{
		{"set", "a", "1"}, {"set", "--dir", "source", "a", "1"}, {"dump", "lines"}, {"backup", "backup.kvs"},
	} {
		var stderr bytes.Buffer
		if code := Run(append([]string{"--dir", "data"}, args...), nil, io.Discard, &stderr); code != exitDone {
			t.Fatalf("%q: exit code %d: %s", args, code, &stderr)
		}
	}
	if err := os.Mkdir("made", 0o700); err != nil {
		t.Fatal(err)
	}
}

// lockDir locks a directory as another process would, and returns a function
// that ends that.
func lockDir(t *testing.T, path string) (unlock func()) {
	t.Helper()
	dir, err := vfs.OS{}.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := dir.Lock(format.LockName, false)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(lock.Abandon(), dir.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestWaitOfEveryCommand: each command that takes a lock waits for it as long
// as --wait says, and no longer than until a signal comes.
func TestWaitOfEveryCommand(t *testing.T) {
	startSignals()
	for _, newCommand := range constructors() {
		name := newCommand(newApp(nil, io.Discard, io.Discard)).Name()
		if _, ok := waiters[name]; !ok {
			t.Errorf("does %s wait for a lock? Say so in waiters", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(waiters)) {
		c := waiters[name]
		if c.args == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			makeWaitPlaces(t)
			for _, w := range []struct {
				wait   string
				after  time.Duration // when something comes
				signal bool          // a signal; else the lock is free
				code   int
				took   time.Duration
			}{
				{"0", 0, false, exitLocked, 0},
				{"5s", 0, false, exitLocked, 5 * time.Second},
				{"1h", 10 * time.Second, true, exitInterrupted, 10 * time.Second},
				{"1h", 10 * time.Second, false, exitDone, 10 * time.Second},
			} {
				if !c.waits {
					w.code, w.took = exitDone, 0
				}
				code, took, text := runBesideLock(t, c.args, c.locked, w.wait, w.after, w.signal)
				late := took - w.took
				if w.code == exitDone {
					late = late.Truncate(time.Second) // until the next attempt
				}
				if code != w.code || late != 0 {
					t.Errorf("--wait %s: exit code %d after %v, want %d after %v: %s",
						w.wait, code, took, w.code, w.took, text)
				}
			}
		})
	}
}

// runBesideLock runs a command in a bubble, in which time passes only while all
// wait. After a while, a signal comes or the lock is free.
func runBesideLock(
	t *testing.T, args []string, locked, wait string, after time.Duration, bySignal bool,
) (code int, took time.Duration, messages string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		unlock := lockDir(t, locked)
		var stderr bytes.Buffer
		a := newApp(strings.NewReader(""), io.Discard, &stderr)
		event := unlock
		if bySignal {
			event = a.cancel
		}
		if after > 0 {
			defer time.AfterFunc(after, event).Stop()
		}
		started := time.Now()
		code = a.run(append([]string{"--dir", "data", "--wait", wait}, args...))
		took, messages = time.Since(started), stderr.String()
		if after == 0 || bySignal || took < after {
			unlock()
		}
	})
	return code, took, messages
}

// startSignals starts the goroutine of package signal, so that it does not
// belong to a bubble.
func startSignals() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	signal.Stop(c)
}

// Do tries often enough to be quick, and seldom enough to cost nothing. It
// returns other errors at once.
func TestLockwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		locked := func() error { tries++; return kvstore.ErrLocked }
		err := lockwait.Do(t.Context(), time.Minute, locked)
		if !errors.Is(err, kvstore.ErrLocked) || tries < 1200 || tries > 1250 {
			t.Errorf("%d tries in a minute, %v", tries, err)
		}
		tries = 0
		err = lockwait.Do(t.Context(), time.Minute, func() error { tries++; return io.ErrUnexpectedEOF })
		if !errors.Is(err, io.ErrUnexpectedEOF) || tries != 1 {
			t.Errorf("%d tries, %v", tries, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := lockwait.Do(ctx, time.Minute, locked); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
