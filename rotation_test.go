package kvstore_test

// This file is about rotations: how the log goes from one segment to the next.

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/vfs"
)

// P1, P6: the log rotates many times. END is written together with a group, and
// the next segment is ready in time.
func TestP6OrderOfRotations(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		for _, bytes := range []int{1, 200, 1000} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.config.SyncWrites = syncWrites
				o := newOracle(func(rule string) { t.Errorf("order: %s", rule) })
				var segments atomic.Int64
				r.fs.SetHook(func(op vfs.Op) error {
					if o.happens(op); op.Kind == vfs.OpRename && strings.HasPrefix(op.Name, "wal-") {
						segments.Add(1)
					}
					return nil
				})
				s := r.open()
				for segments.Load() < 5 {
					r.set(s, "key", strings.Repeat("x", bytes))
					if syncWrites {
						o.acknowledges()
					}
					synctest.Wait() // for the next segment
				}
				r.close(s)
			})
		}
	}
}

// P5: every write to a segment, END included, stays within its reserved space.
// So a full disk fails a reservation and nothing else. Groups end at every
// distance from the end of the space.
func TestP5NoWriteBeyondTheReservedSpace(t *testing.T) {
	const segment, header, overhead = 4096, 53, 21 + 53 // of a Set: its entry and COMMIT
	// One value takes all of its segment, a large one gets its own.
	for _, large := range []bool{false, true} {
		for left := range 100 {
			r := newRig(t)
			var mu sync.Mutex
			reserved := map[string]int64{}
			r.fs.SetHook(func(op vfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				name := strings.TrimSuffix(op.Name, ".tmp")
				if op.Kind == vfs.OpAllocate {
					reserved[name] = int64(op.Bytes)
				}
				end := op.Offset + int64(op.Bytes)
				if op.Kind == vfs.OpWrite && strings.HasPrefix(name, "wal-") && end > reserved[name] {
					t.Errorf("a group that leaves %d bytes: %s is written up to %d, and %d are reserved",
						left, name, end, reserved[name])
				}
				return nil
			})
			s := r.open()
			value := strings.Repeat("x", segment-header-overhead-len("k")-left)
			if large {
				value += strings.Repeat("y", 4*segment)
			}
			r.set(s, "k", value, "next", value, "last", "")
			r.close(s)
			if t.Failed() {
				return
			}
			r.want(r.open(), "k", value, "next", value, "last", "")
		}
	}
}

// P5, P6: a rotation waits for the background fsync. The kernel would report an
// error to only one of two overlapping ones, and END must not be written behind
// groups whose fsync has failed.
func TestP5RotationUnderBackgroundSync(t *testing.T) {
	for _, cause := range []error{nil, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.config.SyncWrites = false
			s := r.open()
			r.set(s, "a", "1")
			began, end := make(chan struct{}), make(chan struct{})
			var syncs atomic.Int64
			r.fs.SetHook(func(op vfs.Op) error {
				if !written(vfs.OpSync)(op) {
					return nil
				}
				if syncs.Add(1) == 1 {
					close(began)
					<-end
					return cause
				}
				return nil
			})
			<-time.After(kvstore.DefaultSyncInterval)
			<-began
			large := async(func() error { return s.Set("large", make([]byte, 5000)) })
			r.waits(large)
			if n := syncs.Load(); n != 1 {
				t.Errorf("%d fsyncs of a file at once", n)
			}
			close(end)
			if cause == nil {
				r.ok(<-large)
				r.close(s)
				return
			}
			failedWith(r, <-large, cause)
			if n := syncs.Load(); n != 1 {
				t.Errorf("%d fsyncs of a file of which one has failed", n)
			}
			failedWith(r, s.Close(), cause)
			r.fs.SetHook(nil)
			r.want(r.open(), "a", "1")
		})
	}
}

// P5: if the next segment cannot be made ahead of time, nothing has failed: no
// caller gets an error, and the segment is made when it is needed. The group
// before it fills the segment up to where END would be written with it.
// Segments are so large that their zeros go to the disk in pieces; a store
// without SyncWrites writes none.
func TestP5NextSegmentFailsAheadOfTime(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpCreate, vfs.OpAllocate, vfs.OpWrite, vfs.OpWriteBack, vfs.OpSync} {
		for _, syncWrites := range []bool{true, false} {
			t.Run(fmt.Sprint(kind, ", SyncWrites ", syncWrites), func(t *testing.T) {
				needs(t, kind)
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, kvstore.WithFirstSegmentBytes(256<<10))
					r.config.SyncWrites = syncWrites
					s := r.open()
					d, want := r.fail(reserved(kind), syscall.EIO, 1), 1
					if kind == vfs.OpWriteBack && !syncWrites {
						want = 0
					}
					pairs := []string{
						"a", strings.Repeat("a", 125_000),
						"b", strings.Repeat("b", 129_000),
						"c", strings.Repeat("c", 32_000),
					}
					r.set(s, pairs[:2]...)
					synctest.Wait()
					if d.failures() != want {
						t.Fatalf("%d failures, want %d", d.failures(), want)
					}
					if names := r.names(); len(names) != 2-want {
						t.Fatalf("a segment that failed is kept: %q", names)
					}
					r.set(s, pairs[2:]...)
					r.want(s, pairs...)
					s = r.reopenAfter(s, r.close)
					r.want(s, pairs...)
				})
			})
		}
	}
}

// The page cache of each full segment is dropped once, when the group that ends
// it is durable. If that fails, the store goes on.
func TestFullSegmentsAreForgotten(t *testing.T) {
	for name, kind := range map[string]vfs.OpKind{"": "", "open fails": vfs.OpOpen, "forget fails": vfs.OpForget} {
		t.Run(name, func(t *testing.T) {
			needs(t, vfs.OpForget)
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, kvstore.WithFirstSegmentBytes(4<<10))
				s := r.open()
				// The fsync that ends a segment precedes the name of the next.
				ended := map[string]bool{"wal-00000000000000000001.log": true}
				var forgotten []string
				killed := false
				d := r.fail(func(op vfs.Op) bool {
					if op.Kind == vfs.OpRename {
						ended[strings.TrimSuffix(op.Name, ".tmp")] = true
					}
					if op.Kind == vfs.OpForget {
						if next := following(op.Name); !ended[next] {
							t.Errorf("%s is forgotten, and there is no %s", op.Name, next)
						}
						forgotten = append(forgotten, op.Name)
					}
					return op.Kind == kind && !killed
				}, syscall.EIO, forever)
				pairs := some(200)
				for len(pairs) > 0 {
					r.set(s, pairs[:2]...)
					synctest.Wait()
					pairs = pairs[2:]
				}
				r.want(s, some(200)...)
				twice := len(slices.Compact(slices.Clone(forgotten))) != len(forgotten)
				switch {
				case kind != "" && d.failures() < 2:
					t.Errorf("%d failures", d.failures())
				case kind != vfs.OpOpen && (len(forgotten) < 2 || !slices.IsSorted(forgotten) || twice):
					t.Errorf("forgotten: %q", forgotten)
				}
				killed = true
				s = r.reopenAfter(s, r.kill)
				r.want(s, some(200)...)
				r.set(s, some(200)...) // and some more segments are full
				r.close(s)
				if n := r.fs.Handles(); n != 0 {
					t.Errorf("%d handles are left", n)
				}
			})
		})
	}
}

// following returns the name of the segment after this one.
func following(name string) string {
	var number int
	_, _ = fmt.Sscanf(name, "wal-%d.log", &number)
	return fmt.Sprintf("wal-%020d.log", number+1)
}
