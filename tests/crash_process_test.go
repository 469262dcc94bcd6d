package tests

// This file starts children, listens to them and kills them.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// crashTimeout is how long a child may take. A child that hangs is killed, and
// the test fails.
const crashTimeout = time.Minute

// crashProcess is a child, seen from the parent.
type crashProcess struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
	cancel context.CancelFunc
}

// startChild starts a child: the test binary once more, with a job in this
// environment variable.
func startChild(t *testing.T, env string, job any) *crashProcess {
	t.Helper()
	if os.Getenv(env) != "" {
		t.Fatalf("this is a child: %s must be read before tests run", env)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), crashTimeout)
	p := &crashProcess{cmd: exec.CommandContext(ctx, program, "-test.run=^$"), cancel: cancel}
	p.cmd.Env = append(os.Environ(), env+"="+string(text))
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		_, err = p.cmd.StdinPipe() // open until Wait: a child ends when its parent does
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	t.Cleanup(func() { _ = p.kill() })
	return p
}

// line returns the next line that the child printed, false after the last one.
// A line without its end does not count: the child was killed in it.
func (p *crashProcess) line() (line string, ok bool) {
	line, err := p.stdout.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err == nil
}

// await reads lines up to this one.
func (p *crashProcess) await(t *testing.T, want string) {
	t.Helper()
	for {
		line, ok := p.line()
		if !ok {
			t.Fatalf("the child ended before it printed %q: %v, %s", want, p.kill(), &p.stderr)
		}
		if line == want {
			return
		}
	}
}

// kill kills the child and returns how it ended. It may be called again.
func (p *crashProcess) kill() error {
	defer p.cancel()
	if p.cmd.ProcessState != nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.cmd.Wait()
}
