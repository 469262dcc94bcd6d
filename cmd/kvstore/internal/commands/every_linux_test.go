package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"kvstore"
	"kvstore/cmd/kvstore/internal/atstart"
	"kvstore/internal/testseed"
)

// places are what the arguments of a command line stand for.
type places struct {
	dir    string // has all the others
	data   string // a store
	source string // another
	file   string // the FILE of a command
}

// words are the names of arguments in the Use of commands, and what stands for
// them. A command with another name for an argument needs a word here.
func (p places) words() map[string]string {
	return map[string]string{
		"-": "-", "KEY": "big", "VALUE": "v", "FILE": p.file, "DIR": filepath.Join(p.dir, "made"),
		"SRC": p.source, "DST": filepath.Join(p.dir, "made"), "COMMAND": "get",
	}
}

// variants are flags that make a command do something else.
var variants = map[string][][]string{
	"bench":   {{"--tmpfs", "--keys", "10", "--writers", "1", "--duration", "1ms"}, {"--tmpfs"}},
	"dump":    {{}, {"--sorted"}},
	"expire":  {{"--ttl", "1h"}},
	"log":     {{}, {"--follow"}},
	"restore": {{}, {"--no-expire"}},
	"scan":    {{}, {"--ttl"}},
	"set":     {{}, {"--ttl", "1h"}},
}

// commandLine is a way to call a command.
type commandLine struct {
	name string
	use  []string // the names of arguments that are given
	args func(p places) []string
}

// commandLines returns each way to fill in the arguments of each command of the
// tree. So a new command is tested without being named here.
func commandLines(t *testing.T) []commandLine {
	t.Helper()
	var all []commandLine
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		path := commandPath(cmd)
		flags, ok := variants[cmd.Name()]
		if !ok {
			flags = [][]string{{}}
		}
		for _, use := range uses(cmd) {
			for _, extra := range flags {
				all = append(all, newCommandLine(t, path, use, extra))
			}
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	root := newRoot(newApp(nil, io.Discard, io.Discard))
	for _, sub := range root.Commands() {
		visit(sub)
	}
	return all
}

func newCommandLine(t *testing.T, path, use, flags []string) commandLine {
	t.Helper()
	for _, word := range use {
		if _, ok := (places{}).words()[word]; !ok {
			t.Fatalf("what stands for %s in the arguments of %q? Say so in words", word, path)
		}
	}
	return commandLine{
		name: strings.Join(slices.Concat(path, flags, use), " "), use: use,
		args: func(p places) []string {
			args := slices.Concat(path, flags)
			for _, word := range use {
				args = append(args, p.words()[word])
			}
			return args
		},
	}
}

// uses returns the lists of arguments that the Use of a command stands for:
// "dump [FILE|-]" is called without arguments, with FILE, and with -.
func uses(cmd *cobra.Command) [][]string {
	all := [][]string{{}}
	for _, word := range strings.Fields(cmd.Use)[1:] {
		inner := strings.TrimSuffix(word, "...")
		optional := strings.HasPrefix(inner, "[")
		inner = strings.Trim(inner, "[]")
		var longer [][]string
		for _, before := range all {
			for _, one := range strings.Split(inner, "|") {
				longer = append(longer, append(slices.Clone(before), one))
			}
			if optional {
				longer = append(longer, before)
			}
		}
		all = longer
	}
	return all
}

// newPlaces makes a directory with two stores as SIGKILL leaves them, whose
// values and log are larger than a pipe.
func newPlaces(t *testing.T, killed string) places {
	t.Helper()
	dir := t.TempDir()
	p := places{
		dir: dir, data: filepath.Join(dir, "data"), source: filepath.Join(dir, "source"),
		file: filepath.Join(dir, "file"),
	}
	if err := errors.Join(os.CopyFS(p.data, os.DirFS(killed)), os.CopyFS(p.source, os.DirFS(killed))); err != nil {
		t.Fatal(err)
	}
	return p
}

// killedStore makes the store for newPlaces.
func killedStore(t *testing.T) (dir string) {
	t.Helper()
	alive, dead := filepath.Join(t.TempDir(), "alive"), filepath.Join(t.TempDir(), "dead")
	store, err := kvstore.Open(alive)
	if err != nil {
		t.Fatal(err)
	}
	var b kvstore.Batch
	b.Set("big", bytes.Repeat([]byte("x"), 200_000))
	for i := range 3000 {
		b.Set(fmt.Sprintf("key %d", i), nil)
	}
	if err := errors.Join(store.Apply(t.Context(), &b), os.CopyFS(dead, os.DirFS(alive)), store.Close()); err != nil {
		t.Fatal(err)
	}
	unfinished, err := filepath.Glob(filepath.Join(dead, "*.tmp"))
	for _, name := range unfinished {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dead
}

// standardStreams are the streams that a process begins with.
type standardStreams struct {
	stdin, stdout, stderr *os.File
	messages              *os.File // what can be read of stderr, if it is not blocked
}

// streamKinds make streams on which a process waits for ever: a pipe that
// delivers nothing, pipes that are full, a terminal that nobody looks at.
var streamKinds = map[string]func(t *testing.T) standardStreams{
	"stdout blocked": func(t *testing.T) standardStreams {
		return standardStreams{silentPipe(t), fullPipe(t), devNull(t), nil}
	},
	"stderr blocked": func(t *testing.T) standardStreams {
		return standardStreams{silentPipe(t), devNull(t), fullPipe(t), nil}
	},
	"both blocked": func(t *testing.T) standardStreams {
		return standardStreams{silentPipe(t), fullPipe(t), fullPipe(t), nil}
	},
	"terminal": func(t *testing.T) standardStreams {
		tty := terminal(t)
		return standardStreams{tty, tty, tty, nil}
	},
}

// pipe returns a pipe that lives as long as the test.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "read end"), os.NewFile(uintptr(fds[1]), "write end")
	t.Cleanup(func() {
		_, _ = r.Close(), w.Close()
	})
	return r, w
}

func silentPipe(t *testing.T) *os.File {
	r, _ := pipe(t)
	return r
}

func fullPipe(t *testing.T) *os.File {
	_, w := pipe(t)
	size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return w
}

func devNull(t *testing.T) *os.File {
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// terminal returns a new terminal, from which nobody reads.
func terminal(t *testing.T) *os.File {
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		missingLayer(t, "no terminals: %v", err)
	}
	t.Cleanup(func() { _ = control.Close() })
	fd := int(control.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return tty
}

// TestOneSignal: one signal ends each command, with each kind of stream, with
// the exit code that the manual names. No temporary file is left, and the store
// opens.
func TestOneSignal(t *testing.T) {
	random, signals, killed := testseed.Rand(t), endingSignals(t), killedStore(t)
	for _, line := range commandLines(t) {
		sig := signals[random.IntN(len(signals))]
		t.Run(line.name, func(t *testing.T) {
			t.Parallel()
			for kind, streams := range streamKinds {
				t.Run(fmt.Sprintf("%s, %v", kind, sig), func(t *testing.T) {
					t.Parallel()
					p := newPlaces(t, killed)
					if err := unix.Mkfifo(p.file, 0o600); err != nil {
						t.Fatal(err)
					}
					signalOne(t, p, line.args(p), streams(t), sig)
					checkPlaces(t, p)
				})
			}
		})
	}
}

// signalOne runs a command until it waits, and sends it a signal.
func signalOne(t *testing.T, p places, args []string, streams standardStreams, sig syscall.Signal) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kvstore", append([]string{"--dir", p.data}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = streams.stdin, streams.stdout, streams.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := endOf(cmd)
	waits := untilItWaits(cmd.Process.Pid, ended)
	_ = cmd.Process.Signal(sig) // it may have ended
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Signal(syscall.SIGABRT)
		t.Fatalf("%q goes on after %v", args, sig)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	bySignal := status.Signaled() && status.Signal() == sig || status.ExitStatus() == exitInterrupted
	if waits && !bySignal || !bySignal && status.ExitStatus() > exitIO || status.Signaled() && !bySignal {
		t.Errorf("exit code %d, %v", status.ExitStatus(), status.Signal())
	}
}

// endOf returns a channel that is closed when a process has ended.
func endOf(cmd *exec.Cmd) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the tests look at the status
		close(ended)
	}()
	return ended
}

func isClosed(ended <-chan struct{}) bool {
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

// untilItWaits returns true when a process waits in a read, a write or an open
// of a stream. It returns false if the process ends, or after a while.
func untilItWaits(pid int, ended <-chan struct{}) bool {
	deadline := time.After(300 * time.Millisecond)
	before := ""
	for ticks := time.Tick(2 * time.Millisecond); ; {
		select {
		case <-ended:
			return false
		case <-deadline:
			return false
		case <-ticks:
		}
		now := waitingIn(pid)
		if now != "" && now == before {
			return true
		}
		before = now
	}
}

// waitingIn returns the system call in which a process waits for a stream, with
// its arguments, or "".
func waitingIn(pid int) string {
	calls, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, name := range calls {
		call, err := os.ReadFile(name)
		number, rest, _ := strings.Cut(string(call), " ")
		if n, numeric := strconv.Atoi(number); err != nil || numeric != nil {
			continue
		} else if n == unix.SYS_OPENAT || (n == unix.SYS_READ || n == unix.SYS_WRITE) && isStandard(rest) {
			return string(call)
		}
	}
	return ""
}

// isStandard reports whether the first argument of a system call is a standard
// stream.
func isStandard(args string) bool {
	first, _, _ := strings.Cut(args, " ")
	return slices.Contains([]string{"0x0", "0x1", "0x2"}, first)
}

// checkPlaces fails the test if a command has left a temporary file, or a store
// that does not open.
func checkPlaces(t *testing.T, p places) {
	t.Helper()
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains([]string{"data", "source", "made", "file"}, entry.Name()) {
			t.Errorf("%s is left", entry.Name())
		}
	}
	for _, pattern := range []string{"*/*.tmp", "*/kvstore-bench-*"} {
		if left, err := filepath.Glob(filepath.Join(p.dir, pattern)); err != nil || len(left) > 0 {
			t.Errorf("%q is left, %v", left, err)
		}
	}
	for _, dir := range []string{p.data, p.source} {
		store, err := kvstore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestIgnoredSignals: a signal that was ignored when a command started, as
// nohup and & do it, stays ignored.
func TestIgnoredSignals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, "load", "--dir", dir, "--format", "tsv", "-")
	if err := errors.Join(p.stdin.Close(), p.Wait()); err != nil { // the store exists
		t.Fatal(err)
	}
	sh := exec.CommandContext(t.Context(), "sh", "-c",
		`trap '' INT HUP; exec kvstore load --dir "$1" --format tsv -`, "sh", dir)
	in, err := sh.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	// Each part is more than a pipe holds: when it is written, the command
	// reads. With the first part, it may not have opened the store yet.
	const parts = 8
	all := numbered(parts * 20_000)
	for part := range parts {
		if _, err := io.WriteString(in, all[part*len(all)/parts:(part+1)*len(all)/parts]); err != nil {
			t.Fatal(err)
		}
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
			if err := sh.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(in.Close(), sh.Wait()); err != nil {
		t.Fatal(err)
	}
	check(t, dir, parts*20_000)
}

// TestSecondSignal: the second signal ends a command that is still finishing
// after the first one: here its last message waits for a reader.
func TestSecondSignal(t *testing.T) {
	p := newPlaces(t, killedStore(t))
	cmd := exec.CommandContext(t.Context(), "kvstore", "load", "--dir", p.data, "--max-errors", "-1", "-")
	cmd.Stderr = fullPipe(t)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "a bad line\n"); err != nil {
		t.Fatal(err)
	}
	ended := endOf(cmd)
	for !untilItWaits(cmd.Process.Pid, ended) && !isClosed(ended) {
	}
	// The first is taken, and the second kills. A flood of signals would make
	// Go's runtime overflow its stack for them.
	for ticks := time.Tick(20 * time.Millisecond); !isClosed(ended); <-ticks {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGTERM {
		t.Errorf("exit code %d, %v", status.ExitStatus(), status.Signal())
	}
}

// TestLostOutput: no command that prints something exits with 0 if that is
// lost, because the disk is full or the standard output is closed. That nobody
// wants it is another matter.
func TestLostOutput(t *testing.T) {
	killed := killedStore(t)
	for _, line := range commandLines(t) {
		if slices.Contains(line.use, "-") || strings.Contains(line.name, "--follow") || line.name == "bench --tmpfs" {
			continue
		}
		t.Run(line.name, func(t *testing.T) {
			t.Parallel()
			shell := func(redirect string) (code int, out []byte) {
				p := newPlaces(t, killed)
				cmd := exec.CommandContext(t.Context(), "sh", append([]string{
					"-c", `exec kvstore --dir "$@" ` + redirect, "sh", p.data,
				}, line.args(p)...)...)
				out, err := cmd.Output()
				if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
					t.Fatal(err)
				}
				return cmd.ProcessState.ExitCode(), out
			}
			code, out := shell("")
			if code != exitDone || len(out) == 0 {
				return
			}
			for _, redirect := range []string{">/dev/full", ">&-"} {
				if code, _ := shell(redirect); code == exitDone && (redirect != ">&-" || atstart.Known) {
					t.Errorf("%s: exit code 0", redirect)
				}
			}
			for _, redirect := range []string{">/dev/null", "1<>/dev/null"} {
				if code, _ := shell(redirect); code != exitDone {
					t.Errorf("%s: exit code %d", redirect, code)
				}
			}
		})
	}
}

// TestClosedInput: a standard input that is closed is not an empty one.
func TestClosedInput(t *testing.T) {
	if !atstart.Known {
		missingLayer(t, "built without cgo")
	}
	killed := killedStore(t)
	for _, line := range commandLines(t) {
		writes := strings.HasPrefix(line.name, "dump") || strings.HasPrefix(line.name, "backup")
		if writes || !slices.Contains(line.use, "-") {
			continue
		}
		p := newPlaces(t, killed)
		cmd := exec.CommandContext(t.Context(), "sh", append([]string{
			"-c", `exec kvstore --dir "$@" <&-`, "sh", p.data,
		}, line.args(p)...)...)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != exitIO {
			t.Errorf("%s: exit code %d, %v: %s", line.name, code, err, out)
		}
	}
}

// TestWait: with --wait, a command waits until another process has closed the
// store. One signal ends the wait. Without the flag, and when the time is over,
// the store is locked.
func TestWait(t *testing.T) {
	for _, args := range [][]string{{"set", "a", "2"}, {"get", "a"}, {"snapshot"}} {
		dir := filepath.Join(t.TempDir(), "data")
		store, err := kvstore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Set("a", []byte("1")); err != nil {
			t.Fatal(err)
		}
		run := func(wait string) (*exec.Cmd, <-chan struct{}) {
			flags := []string{"--dir", dir, "--wait", wait}
			cmd := exec.CommandContext(t.Context(), "kvstore", append(flags, args...)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return cmd, endOf(cmd)
		}
		for _, wait := range []string{"0", "1ms"} {
			cmd, ended := run(wait)
			if <-ended; cmd.ProcessState.ExitCode() != exitLocked {
				t.Errorf("%q --wait %s: exit code %d", args, wait, cmd.ProcessState.ExitCode())
			}
		}
		cmd, ended := run("1h")
		untilItWaits(cmd.Process.Pid, ended)
		_ = cmd.Process.Signal(syscall.SIGINT)
		<-ended
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signal() != syscall.SIGINT && status.ExitStatus() != exitInterrupted {
			t.Errorf("%q, interrupted: exit code %d, %v", args, status.ExitStatus(), status.Signal())
		}
		cmd, ended = run("1h")
		untilItWaits(cmd.Process.Pid, ended)
		if isClosed(ended) {
			t.Errorf("%q does not wait: exit code %d", args, cmd.ProcessState.ExitCode())
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if <-ended; cmd.ProcessState.ExitCode() != exitDone {
			t.Errorf("%q, when the store is closed: exit code %d", args, cmd.ProcessState.ExitCode())
		}
	}
}
