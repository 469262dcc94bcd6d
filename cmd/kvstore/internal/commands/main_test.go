package commands

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kvstore"
	"kvstore/cmd/kvstore/internal/host"
	fileformat "kvstore/internal/format"
)

// TestMain makes the test binary the command too, which the scripts run.
func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", noExitSleep); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"kvstore": func() {
			code := Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
			if os.Getenv(peakEnv) != "" {
				printPeak()
			}
			os.Exit(code)
		},
	})
}

// peakEnv makes the command print the peak of its memory to the standard error.
const peakEnv = "KVSTORE_PEAK"

// printPeak prints the line of the kernel about the most memory that was
// resident.
func printPeak() {
	status, err := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			_, err = fmt.Fprint(os.Stderr, line)
		}
	}
	if err != nil {
		panic(err)
	}
}

// noExitSleep is for $GORACE: without it, the race detector sleeps a second at
// the end of each of about two hundred processes.
const noExitSleep = "atexit_sleep_ms=0"

// TestScripts runs testdata/script. It has a file for each command, and one for
// each thing that commands have in common. $KVSTORE_DIR is $WORK/data.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KVSTORE_DIR", filepath.Join(env.WorkDir, "data"))
			env.Setenv("GORACE", noExitSleep)
			env.Setenv("PID", fmt.Sprint(os.Getpid()))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "memory" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			memory, err := host.InMemory("/dev/shm")
			return memory && err == nil, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":     exits,
			"hold":      hold,
			"damage":    damage,
			"listing":   listing,
			"crash":     crash,
			"expired":   expired,
			"sessions":  sessions,
			"flip":      flip,
			"overwrite": overwrite,
		},
	})
}

// exits runs kvstore, as `exits CODE ARGUMENT...`, and requires that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGUMENT...")
	}
	code := "0"
	if err := ts.Exec("kvstore", args[1:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("kvstore: %v", err)
		}
		code = fmt.Sprint(exit.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("kvstore exits with %s, want %s", code, args[0])
	}
}

// hold opens the store in a directory for writing, until the end of the script.
// The test's own process, $PID, holds the lock.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	store, err := kvstore.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { ts.Check(store.Close()) })
}

// damage inverts a byte in the middle of each file that matches a pattern.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(names) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		ts.Check(err)
		b[len(b)/2] ^= 0xff
		ts.Check(os.WriteFile(name, b, 0o600))
	}
}

// listing requires that every file in a directory matches a pattern, and every
// pattern a file.
func listing(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	met := map[string]bool{}
	for _, entry := range entries {
		known := false
		for _, pattern := range args[1:] {
			if ok, err := filepath.Match(pattern, entry.Name()); err == nil && ok {
				known, met[pattern] = true, true
			}
		}
		if !known {
			ts.Fatalf("%s holds %s", args[0], entry.Name())
		}
	}
	if len(met) < len(args)-1 {
		ts.Fatalf("%s lacks some of %s: it has %v", args[0], strings.Join(args[1:], " "), entries)
	}
}

// crash makes a data directory as a crash leaves it: three keys in the log, no
// snapshot, and some bytes of an unfinished write.
func crash(ts *testscript.TestScript, _ bool, args []string) {
	alive, dead := ts.MkAbs("alive"), ts.MkAbs(args[0])
	store, err := kvstore.Open(alive)
	ts.Check(err)
	for _, key := range []string{"a", "b", "c"} {
		ts.Check(store.Set(key, []byte(key)))
	}
	end := fileformat.SegmentEntryBytes + store.Stats().WALBytes
	ts.Check(os.CopyFS(dead, os.DirFS(alive)))
	ts.Check(errors.Join(store.Close(), os.RemoveAll(alive)))
	segments, err := filepath.Glob(filepath.Join(dead, "wal-*.log"))
	ts.Check(err)
	log, err := os.ReadFile(segments[len(segments)-1])
	ts.Check(err)
	copy(log[end:], "torn!")
	ts.Check(os.WriteFile(segments[len(segments)-1], log, 0o600))
}

// expired makes a data directory with the keys a, b and c: a without a
// deadline, b whose deadline has passed and that is not deleted, and c whose
// deadline comes in 2100.
func expired(ts *testscript.TestScript, _ bool, args []string) {
	config := kvstore.DefaultConfig(ts.MkAbs(args[0]))
	config.Now = func() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }
	store, err := kvstore.OpenWithConfig(config)
	ts.Check(err)
	ts.Check(store.Set("a", []byte("1")))
	ts.Check(store.SetUntil("b", []byte("2"), time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)))
	ts.Check(store.SetUntil("c", []byte("3"), time.Date(2100, 1, 1, 0, 0, 0, 1, time.UTC)))
	ts.Check(store.Close())
}

// sessions makes a data directory that this many sessions have left without
// Close, each with a segment of the log.
func sessions(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	for range count {
		alive := ts.MkAbs("alive")
		ts.Check(os.MkdirAll(dir, 0o700))
		ts.Check(os.Rename(dir, alive))
		store, err := kvstore.Open(alive)
		ts.Check(err)
		ts.Check(store.Set("a", nil))
		ts.Check(os.CopyFS(dir, os.DirFS(alive)))
		ts.Check(errors.Join(store.Close(), os.RemoveAll(alive)))
	}
}

// flip inverts the byte of a file at an offset.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	b[offset] ^= 0xff
	ts.Check(os.WriteFile(name, b, 0o600))
}

// overwrite overwrites each byte of a file, as `overwrite zeros FILE` or
// `overwrite random FILE`.
func overwrite(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[1])
	info, err := os.Stat(name)
	ts.Check(err)
	b := make([]byte, info.Size())
	if args[0] == "random" {
		_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	}
	ts.Check(os.WriteFile(name, b, 0o600))
}
