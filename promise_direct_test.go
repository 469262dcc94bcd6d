package kvstore_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// directBytes is the size from which on the commands of these tests are written
// from their own memory.
const directBytes = 500

// groupOf has the writer make one group of batches: they queue while the fsync
// of another write hangs. hook gets all operations from then on. It needs
// synctest.
func (r *rig) groupOf(
	s *kvstore.Store, hook func(vfs.Op) error, batches ...*kvstore.Batch,
) (commits []*kvstore.Commit) {
	r.Helper()
	begin := make(chan struct{})
	r.fs.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			<-begin
			r.fs.SetHook(hook)
		}
		return nil
	})
	first := s.ApplyAsync(ctx, batch("first", "1"))
	r.undecided(first)
	for _, b := range batches {
		commits = append(commits, s.ApplyAsync(ctx, b))
	}
	close(begin)
	r.ok(first.Wait(ctx))
	return commits
}

// A group in pieces has the entries that it would have in one: in their order,
// with their versions. It is recovered whole.
func TestDirectCommandsAreInTheirOrder(t *testing.T) {
	clock := kvstore.WithClock(func() time.Time { return time.Unix(0, 1000) })
	rng := testseed.Rand(t)
	for range 50 {
		var batches []*kvstore.Batch
		for i := range 1 + rng.IntN(8) {
			b := batch(fmt.Sprint("key ", i), strings.Repeat(fmt.Sprint(i), rng.IntN(2*directBytes)))
			b.Set("last", fmt.Append(nil, i))
			batches = append(batches, b)
		}
		var logs [2][]logEntry
		for i, size := range []int{directBytes, 1 << 30} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, clock, kvstore.WithDirectBytes(size))
				s := r.open()
				for _, c := range r.groupOf(s, nil, batches...) {
					r.ok(c.Wait(ctx))
				}
				if groups := s.Stats().Groups; groups != 2 {
					t.Fatalf("%d groups", groups)
				}
				logs[i] = r.writes()
				before := state(s)
				s = r.reopenAfter(s, r.kill)
				var pairs []string
				for key, value := range before {
					pairs = append(pairs, key, value)
				}
				r.want(s, pairs...)
			})
		}
		if got, want := fmt.Sprint(logs[0]), fmt.Sprint(logs[1]); got != want {
			t.Fatalf("in pieces: %.500s\nin one: %.500s", got, want)
		}
	}
}

// A large command is written from its own memory, with a pwrite of its own, and
// COMMIT follows. Small commands share one, as if there were no large one.
func TestDirectCommandsAreNotCopied(t *testing.T) {
	const overhead, commit = 21, 53
	small, large := strings.Repeat("s", 99), strings.Repeat("l", 999)
	for name, row := range map[string]struct {
		values []string // one for each command, with a key of one byte
		want   []int    // bytes of each write
	}{
		"small":           {[]string{small, small}, []int{2*(overhead+100) + commit}},
		"large":           {[]string{large}, []int{overhead + 1000, commit}},
		"small and large": {[]string{small, small, large}, []int{2 * (overhead + 100), overhead + 1000, commit}},
		"large and small": {
			[]string{large, large, small}, []int{overhead + 1000, overhead + 1000, overhead + 100 + commit},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, kvstore.WithDirectBytes(directBytes), kvstore.WithFirstSegmentBytes(1<<20))
				s := r.open()
				var batches []*kvstore.Batch
				for _, value := range row.values {
					batches = append(batches, batch("k", value))
				}
				var writes []int
				hook := func(op vfs.Op) error {
					if op.Kind == vfs.OpWrite {
						writes = append(writes, op.Bytes)
					}
					return nil
				}
				for _, c := range r.groupOf(s, hook, batches...) {
					r.ok(c.Wait(ctx))
				}
				if fmt.Sprint(writes) != fmt.Sprint(row.want) {
					t.Errorf("writes of %v bytes, want %v", writes, row.want)
				}
			})
		})
	}
}

// P5: if one of the pieces of a group fails, or only a part of it is written,
// the group has failed: nothing of it is ever seen, and nothing is written
// behind it.
func TestP5PieceOfAGroupFails(t *testing.T) {
	large := strings.Repeat("x", directBytes)
	for piece := 1; piece <= 3; piece++ {
		for name, cause := range map[string]error{
			"fails": syscall.EIO,
			"short": &vfs.ShortWrite{Bytes: 40, Err: syscall.EIO}, // COMMIT has 53
		} {
			t.Run(fmt.Sprint("piece ", piece, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, kvstore.WithDirectBytes(directBytes), kvstore.WithFirstSegmentBytes(1<<20))
					s := r.open()
					writes := 0
					hook := func(op vfs.Op) error {
						if op.Kind != vfs.OpWrite {
							return nil
						}
						if writes++; writes == piece {
							return cause
						}
						return nil
					}
					for _, c := range r.groupOf(s, hook, batch("small", "1"), batch("large", large)) {
						failedWith(r, c.Wait(ctx), cause)
					}
					if writes != piece {
						t.Errorf("%d writes", writes)
					}
					r.want(s, "first", "1")
					failedWith(r, s.Set("later", nil), cause)
					failedWith(r, s.Close(), cause)
					r.fs.SetHook(nil)
					s = r.open()
					r.want(s, "first", "1")
					r.set(s, "later", "1")
				})
			})
		}
	}
}

// P9: a batch belongs to its caller alone. Nothing of a commit is written into
// it, and what the caller writes into it later is no part of the commit.
func TestP9DirectBatchesAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kvstore.WithDirectBytes(directBytes))
		s := r.open()
		b := batch("large", strings.Repeat("x", directBytes), "small", "1")
		commits := r.groupOf(s, nil, b, b)
		b.Reset()
		b.Set("large", []byte(strings.Repeat("y", directBytes)))
		for _, c := range commits {
			r.ok(c.Wait(ctx))
		}
		want := []string{"first", "1", "large", strings.Repeat("x", directBytes), "small", "1"}
		r.want(s, want...)
		if a, b := commits[0].Version(), commits[1].Version(); b != a+1 {
			t.Errorf("versions %d and %d", a, b)
		}
		r.want(r.reopenAfter(s, r.kill), want...)
	})
}
