package tests

// This file starts children and reads what they print.

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// powerSeen is what a child has printed so far.
type powerSeen struct {
	acked  [crashWriters]int
	acks   int
	last   string // line of another kind than has, ack and failed
	failed string
	wrong  string
}

// powerChild is a child, and the goroutine that reads what it prints.
type powerChild struct {
	*crashProcess
	job     powerJob
	slack   int // commits that may be there beyond those known when it began
	mu      sync.Mutex
	seen    powerSeen
	changed chan struct{} // gets a token whenever seen has changed
	done    chan struct{} // closed when nothing more comes
}

func (p *powerTest) startChild(t *testing.T, job powerJob) *powerChild {
	t.Helper()
	c := &powerChild{
		crashProcess: startChild(t, powerEnv, job),
		job:          job, slack: p.unread, seen: powerSeen{acked: p.acked},
		changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go c.watch()
	t.Cleanup(func() { _ = c.end() })
	return c
}

func (c *powerChild) watch() {
	defer close(c.done)
	for line, ok := c.line(); ok; line, ok = c.line() {
		c.mu.Lock()
		c.seen.take(line, c.slack)
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// take records a line.
func (s *powerSeen) take(line string, slack int) {
	word, rest, _ := strings.Cut(line, " ")
	if word == "failed" {
		s.failed = rest
		return
	}
	if word != "has" && word != "ack" {
		s.last = line
		return
	}
	first, second, _ := strings.Cut(rest, " ")
	writer, err := strconv.Atoi(first)
	n, err2 := strconv.Atoi(second)
	if err != nil || err2 != nil || writer < 0 || writer >= crashWriters {
		s.wrong = fmt.Sprintf("the child printed %q", line)
		return
	}
	switch known := s.acked[writer]; {
	case word == "has" && (n < known || n > known+slack):
		s.wrong = fmt.Sprintf("goroutine %d is at commit %d for the child; %d were there, %d more are possible",
			writer, n, known, slack)
	case word == "ack" && n <= known:
		s.wrong = fmt.Sprintf("goroutine %d began again with commit %d, %d was there already", writer, n, known)
	case word == "ack":
		s.acks++
	}
	s.acked[writer] = n
}

func (c *powerChild) now() powerSeen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// until waits until the child has printed enough.
func (c *powerChild) until(t *testing.T, what string, enough func(powerSeen) bool) {
	t.Helper()
	for !enough(c.now()) {
		select {
		case <-c.changed:
		case <-c.done:
			if seen := c.now(); !enough(seen) {
				err := c.end()
				t.Fatalf("the child ended before %s, after %q and %q: %v, %s",
					what, seen.last, seen.failed, err, &c.stderr)
			}
		}
	}
}

// end kills the child and waits for everything that belongs to it.
func (c *powerChild) end() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.done // before Wait, which closes the pipe
	return c.kill()
}
