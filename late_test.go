package kvstore_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"kvstore"
	"kvstore/internal/vfs"
)

// This file is about groups that are answered while the next one is synced, which is so when many callers are waiting: lateBacklog is 256.

const manyCallers = 300

// lateRig has a first commit hang in a call of the disk, and others queued behind it.
type lateRig struct {
	*rig
	store  *kvstore.Store
	hangs  *stall
	first  *kvstore.Commit
	queued []*kvstore.Commit
}

func newLateRig(t *testing.T, syncWrites bool, queued int, options ...kvstore.EnvOption) *lateRig {
	r := &lateRig{rig: newRig(t, options...)}
	r.config.SyncWrites = syncWrites
	r.store = r.open()
	r.hangs = r.stall(map[bool]vfs.OpKind{true: vfs.OpSync, false: vfs.OpWrite}[syncWrites])
	r.first = r.store.ApplyAsync(ctx, batch("first", "1"))
	r.undecided(r.first)
	r.queue(queued)
	return r
}

// queue queues so many commits.
func (r *lateRig) queue(n int) {
	for range n {
		r.queued = append(r.queued, r.store.ApplyAsync(ctx, batch(fmt.Sprint("key ", len(r.queued)), "2")))
	}
}

// all waits for what was queued, which must end like this.
func (r *lateRig) all(want ...error) {
	r.Helper()
	for _, c := range r.queued {
		if len(want) == 0 {
			r.ok(c.Wait(ctx))
		} else {
			r.fails(c.Wait(ctx), want...)
		}
	}
}

// large is the size of a segment that all of it fits into.
func large() kvstore.EnvOption { return kvstore.WithFirstSegmentBytes(1 << 20) }

func TestLateAnswerLeavesWhileTheNextGroupIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLateRig(t, true, manyCallers, large())
		begins := r.stall(vfs.OpStartWrite)
		r.hangs.release()
		<-begins.began // of the second group
		r.undecided(r.first)
		r.want(r.store, "first", "1") // readers do not wait for its answer
		syncs := r.stall(vfs.OpSync)
		begins.release()
		<-syncs.began
		r.ok(r.first.Wait(ctx))
		r.undecided(r.queued[0])
		r.want(r.store, "first", "1")
		syncs.release()
		r.all()
		r.close(r.store)
	})
}

// Who would have to wait for something else than the next group's way to the disk is answered at once.
func TestLateAnswerIsNotForAll(t *testing.T) {
	for _, c := range []struct {
		name       string
		syncWrites bool
		queued     int
		large      int // bytes of a commit behind the first
		options    []kvstore.EnvOption
		hangs      vfs.OpKind // what the second group comes to
	}{
		{"few callers", true, 254, 0, []kvstore.EnvOption{large()}, vfs.OpStartWrite},
		{"a large group", true, manyCallers, 1 << 20, []kvstore.EnvOption{kvstore.WithFirstSegmentBytes(4 << 20)}, vfs.OpWrite},
		{"no SyncWrites", false, manyCallers, 0, []kvstore.EnvOption{large()}, vfs.OpWrite},
		{"a segment to be made", true, manyCallers, 0, nil, vfs.OpCreate},
		{"a segment to be named", true, manyCallers, 0, nil, vfs.OpRename},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLateRig(t, c.syncWrites, c.queued, c.options...)
				r.queued = append(r.queued, r.store.ApplyAsync(ctx, batch("large", strings.Repeat("x", c.large))))
				next := r.stall(c.hangs)
				r.hangs.release()
				<-next.began
				r.ok(r.first.Wait(ctx))
				r.undecided(r.queued[0])
				next.release()
				r.all()
				r.close(r.store)
			})
		})
	}
}

// When Sync returns, all commits before it are decided, though there would be reason to leave their answers for later.
func TestLateAnswerIsBeforeThatOfSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLateRig(t, true, 10, large())
		synced := async(r.store.Sync)
		synctest.Wait()
		before := r.queued
		r.queue(manyCallers)
		begun := 0
		third := make(chan struct{})
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpStartWrite {
				if begun++; begun == 2 {
					<-third
				}
			}
			return nil
		})
		r.hangs.release()
		r.ok(<-synced)
		for _, c := range before {
			select {
			case <-c.Done():
			default:
				t.Fatal("undecided after Sync")
			}
		}
		close(third)
		r.all()
		r.close(r.store)
	})
}

// What becomes of the next group is no matter to one that is durable.
func TestLateAnswerIsNotThatOfTheNextGroup(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpStartWrite, vfs.OpSync} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLateRig(t, true, manyCallers, large())
				r.fail(written(kind), syscall.EIO, 1)
				r.hangs.release()
				r.ok(r.first.Wait(ctx))
				r.all(kvstore.ErrFailed, syscall.EIO)
				r.want(r.store, "first", "1")
				r.fails(r.store.Close(), kvstore.ErrFailed)
				r.fs.SetHook(nil)
				s := r.open()
				if value, ok := s.Get("first"); !ok || string(value) != "1" { // of the others, it is not known
					t.Fatalf("first is %q, %v", value, ok)
				}
				r.close(s)
			})
		})
	}
}

// Close answers everybody who was accepted.
func TestLateAnswerBeforeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLateRig(t, true, manyCallers, large())
		closed := async(r.store.Close)
		r.waits(closed)
		r.hangs.release()
		r.ok(<-closed)
		r.ok(r.first.Wait(ctx))
		r.all()
	})
}
