package linear

import (
	"errors"
	"os/signal"
	"slices"
	"syscall"
	"testing"

	"github.com/anishathalye/porcupine"

	"kvstore"
)

// P5: a real write error in the middle of a history. A limit on the size of
// files (RLIMIT_FSIZE) lets only a part of a group reach the disk. The session
// never shows the writes of that group, no later write succeeds, and the next
// session has all acknowledged writes.
func TestHistoriesOfFailures(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	t.Cleanup(func() { signal.Reset(syscall.SIGXFSZ) })
	bothModes(t, func(t *testing.T, syncWrites bool) {
		failures := 0
		rounds(t, 4, func(t *testing.T, p *planner) []porcupine.Operation {
			dir := t.TempDir()
			s := openReal(t, dir, syncWrites)
			// The log must be longer than the test's own files, so that these
			// may still grow.
			if err := errors.Join(s.Set("filler", make([]byte, 200<<10)), s.Delete("filler")); err != nil {
				t.Fatal(err)
			}
			var h history
			h.opened()
			lift := limitFiles(t, uint64(s.(real).Stats().WALBytes)+uint64(p.IntN(16<<10)))
			shape := shape{clients: 2 + p.IntN(5), ops: 4 + p.IntN(12), big: true, serial: p.IntN(2) == 0}
			journals := run(s, p.session(h.epoch, shape))
			failed := sticky(t, journals)
			h.add(journals...)
			h.use(s, [][]planned{readAll(h.epoch)})
			lift()
			err := s.Close()
			if len(h.open) > 0 && errors.Is(err, kvstore.ErrFailed) {
				failed = true // perhaps only a caller that did not wait for the answer met it
			}
			if errors.Is(err, kvstore.ErrFailed) != failed || err != nil && !failed {
				t.Fatalf("Close: %v, after a failure: %v", err, failed)
			}
			if failed {
				failures++
			}
			h.point(op{Kind: opClose, Epoch: h.epoch})
			open := h.open
			h.opened()
			first := len(h.ops)
			h.record(t, openReal(t, dir, syncWrites), p, shape)
			h.prune(open, first)
			history := h.finish()
			check(t, wholeMap, history)
			return history
		})
		t.Logf("%d histories with a failure", failures)
		if failures == 0 {
			t.Error("no store has failed")
		}
	})
}

// sticky reports whether a write has failed, and verifies that no later write
// has succeeded. Failed writes that began after the first failure get the
// outcome none, because only the group that met the error may be in the log.
func sticky(t *testing.T, journals []*journal) bool {
	t.Helper()
	first := int64(-1)
	for _, j := range journals {
		for _, o := range j.ops {
			if o.Output.(result).Outcome == failed && (first < 0 || o.Return < first) {
				first = o.Return
			}
		}
	}
	for _, j := range journals {
		for i, o := range j.ops {
			in, out := o.Input.(op), o.Output.(result)
			if first < 0 || len(in.Writes) == 0 || o.Call <= first {
				continue
			}
			onlyTouches := !slices.ContainsFunc(in.Writes, func(w write) bool { return !w.Touch })
			if out.Outcome == done && (in.Kind != opUpdate || !onlyTouches) { // that may have nothing to write
				t.Errorf("%v was acknowledged after the store had failed", in)
			}
			if out.Outcome == failed || out.Outcome == unknown {
				out.Outcome = none
				j.ops[i].Output = out
			}
		}
	}
	return first >= 0
}

// prune gives failed writes the outcome none if the reads at the beginning of
// the next session show nothing of them. No other read could have seen them, so
// this changes no verdict; it saves the checker from trying.
func (h *history) prune(open []int, look int) {
	var shown [keyCount]value
	for _, o := range h.ops[look : look+keyCount] {
		shown[o.Input.(op).Key] = o.Output.(result).Value
	}
	for _, i := range open {
		o := &h.ops[i]
		in, out := o.Input.(op), o.Output.(result)
		shows := func(w write) bool { return shown[w.Key] == w.Value }
		if out.Outcome == failed && !slices.ContainsFunc(in.Writes, shows) {
			out.Outcome = none
			o.Output, o.Return = out, o.Call
		}
	}
}

// limitFiles forbids files longer than size until lift is called.
func limitFiles(t *testing.T, size uint64) (lift func()) {
	t.Helper()
	var old syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old)
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max})
	}
	if err != nil {
		t.Fatal(err)
	}
	lifted := false
	lift = func() {
		if !lifted {
			lifted = true
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(lift)
	return lift
}
