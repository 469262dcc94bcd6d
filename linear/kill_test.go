package linear

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"kvstore"
)

// This file has histories across crashes. A child process, which runs the test
// binary, uses the store as any session does. It records each call before it
// makes it and each answer after it, and kills itself at some point.

// childEnv holds the childJob of a child process.
const childEnv = "KVSTORE_LINEAR_CHILD"

// childTimeout: a child that hangs is killed, and the test fails.
const childTimeout = time.Minute

type childJob struct {
	Dir        string
	Logs       string // directory of plan.json and the clients' journals
	SyncWrites bool
	KillAt     int64 // kill after KillAt lines in the journals; 0 is during Open
	Aside      bool  // kill from another goroutine, while the clients go on
	Spin       int   // how long to wait before the kill
}

func runChild(text string) {
	var job childJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(3)
}

// run returns only with an error.
func (job childJob) run() error {
	text, err := os.ReadFile(filepath.Join(job.Logs, "plan.json"))
	if err != nil {
		return err
	}
	var plans [][]planned
	if err := json.Unmarshal(text, &plans); err != nil {
		return err
	}
	if job.KillAt == 0 {
		go job.kill()
	}
	s, err := kvstore.OpenWithConfig(config(job.Dir, job.SyncWrites))
	if err != nil {
		return err
	}
	var lines atomic.Int64
	tick := func() {
		switch {
		case lines.Add(1) != job.KillAt:
		case job.Aside:
			go job.kill()
		default:
			job.kill()
		}
	}
	// The first plan is carried out alone.
	base := time.Now()
	journals := make([]*journal, len(plans))
	for i := range journals {
		f, err := os.Create(filepath.Join(job.Logs, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		journals[i] = &journal{base: base, file: f, tick: tick}
	}
	runClients(real{s}, plans[:1], journals[:1])
	runClients(real{s}, plans[1:], journals[1:])
	_, err = io.Copy(io.Discard, os.Stdin) // returns when the parent has ended
	return errors.Join(err, errors.New("still alive"))
}

// kill ends this process, with SIGKILL or its equivalent.
func (job childJob) kill() {
	for range job.Spin {
		runtime.Gosched()
	}
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// P1, P2, P4: all sessions but the last end by SIGKILL. Answered and unanswered
// operations of all sessions must fit into one history.
func TestHistoriesAcrossKills(t *testing.T) {
	bothModes(t, func(t *testing.T, syncWrites bool) {
		unanswered, duringOpen := 0, 0
		rounds(t, 5, func(t *testing.T, p *planner) []porcupine.Operation {
			dir := t.TempDir()
			var h history
			for range 1 + p.IntN(3) {
				h.opened()
				shape := shape{
					clients: 2 + p.IntN(5), ops: 4 + p.IntN(12), closes: p.IntN(4) == 0, serial: p.IntN(2) == 0,
				}
				job := childJob{
					Dir: dir, Logs: t.TempDir(), SyncWrites: syncWrites,
					KillAt: 1 + p.Int64N(int64(2*(shape.clients*shape.ops+keyCount+2))),
					Aside:  p.IntN(2) == 0, Spin: p.IntN(40),
				}
				if p.IntN(8) == 0 {
					job.KillAt, job.Spin = 0, p.IntN(4000)
					duringOpen++
				}
				h.add(killChild(t, job, append([][]planned{readAll(h.epoch)}, p.session(h.epoch, shape)...))...)
				unanswered += len(h.open)
			}
			h.opened()
			h.record(t, openReal(t, dir, syncWrites), p, shape{clients: 3, ops: 4, serial: p.IntN(2) == 0})
			history := h.finish()
			check(t, wholeMap, history)
			return history
		})
		t.Logf("%d operations without answer, %d kills during Open", unanswered, duringOpen)
		if unanswered == 0 {
			t.Error("no kill has interrupted an operation")
		}
	})
}

// killChild runs a child until it has killed itself, and returns its journals.
func killChild(t *testing.T, job childJob, plans [][]planned) []*journal {
	t.Helper()
	text, err := json.Marshal(plans)
	if err == nil {
		err = os.WriteFile(filepath.Join(job.Logs, "plan.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err = json.Marshal(job); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), childTimeout)
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if _, err := cmd.StdinPipe(); err != nil { // open until the child has ended
		t.Fatal(err)
	}
	if err := cmd.Run(); err == nil || ctx.Err() != nil || stderr.Len() > 0 {
		t.Fatalf("child: %v, %v; %s", err, ctx.Err(), &stderr)
	}
	var journals []*journal
	for i := range plans {
		j, err := readJournal(filepath.Join(job.Logs, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		journals = append(journals, j)
	}
	return journals
}

// readJournal reads the journal of a client. It ignores a last line that is cut
// off: such a call had not begun, and such an answer was not used.
func readJournal(path string) (*journal, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return &journal{}, nil // the child was killed in Open
	}
	if err != nil {
		return nil, err
	}
	j := &journal{}
	lines := bufio.NewReader(bytes.NewReader(text))
	for {
		bytes, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return j, nil
		}
		var l line
		if err := json.Unmarshal(bytes, &l); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if l.Op != nil {
			j.ops = append(j.ops, porcupine.Operation{
				Input: *l.Op, Output: result{Outcome: unknown}, Call: l.At, Return: -1,
			})
		}
		if l.Result != nil {
			j.ops[l.Index].Return, j.ops[l.Index].Output = l.At, *l.Result
		}
	}
}
