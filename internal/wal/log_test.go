package wal

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"syscall"
	"testing"
	"time"

	"kvstore/internal/codec"
	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// rig is a log in memory, and what it has told its store.
type rig struct {
	t       *testing.T
	fs      *vfs.Mem
	dir     vfs.Dir
	log     *Log
	version int64
	woken   int     // calls of WakeFlusher
	failed  []error // causes that Failed was called with
}

var errEnded = errors.New("the log has ended")

// newRig begins a log whose first segment has one page. Background tasks run at
// once, so that nothing depends on the scheduler.
func newRig(t *testing.T, syncWrites bool) *rig {
	t.Helper()
	r := &rig{t: t, fs: vfs.NewMem(nil)}
	var err error
	r.ok(r.fs.Mkdir("/db"))
	r.dir, err = r.fs.OpenDir("/db")
	r.ok(err)
	lock, err := r.dir.Lock("LOCK", false)
	r.ok(err)
	r.log, err = Begin(r.dir, Start{ID: format.StoreID{1}, Segment: 1}, Options{
		SyncWrites: syncWrites, FirstSegmentBytes: SegmentAlign, Now: time.Now,
		Background:  func(task func() error) { r.ok(task()) },
		WakeFlusher: func() { r.woken++ },
		CheckLock:   lock.Check,
		Ballast:     NewBallast(lock),
		Failed: func(cause error) error {
			r.failed = append(r.failed, cause)
			return fmt.Errorf("%w: %w", errEnded, cause)
		},
	})
	r.ok(err)
	return r
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// write writes a group with one SET of n bytes, as the writer does.
func (r *rig) write(n int) error {
	entries := codec.AppendSet(nil, "key", make([]byte, n))
	if err := r.log.Reserve(len(entries), false); err != nil {
		return err
	}
	r.version++
	format.SetTimestamps(entries, r.version)
	pieces := [][]byte{append(r.log.Buffer(len(entries)), entries...)}
	if _, err := r.log.Append(pieces, r.version, false); err != nil {
		return err
	}
	if r.log.SyncWrites() {
		if err := r.log.Sync(); err != nil {
			return err
		}
	}
	r.log.PrepareRotation()
	return r.log.Err()
}

// groups judges all segments as recovery does, and returns the groups found.
func (r *rig) groups() (groups []format.Group) {
	r.t.Helper()
	names, err := r.dir.List()
	r.ok(err)
	files, err := format.Sort(names)
	r.ok(err)
	var chain format.Chain
	for i, number := range files.Segments {
		data, ok := r.fs.ReadFile("/db/" + format.SegmentName(number))
		if !ok {
			r.t.Fatalf("segment %d cannot be read", number)
		}
		scanner, err := chain.Scan(number, data)
		r.ok(err)
		for {
			g, ok, err := scanner.Next()
			r.ok(err)
			if !ok {
				break
			}
			groups = append(groups, g)
		}
		_, err = scanner.Tail(i == len(files.Segments)-1)
		r.ok(err)
	}
	return groups
}

// Groups go from segment to segment, each of which ends with END, and no COMMIT
// vouches for a group that was not synced when it was written.
func TestGroupsFollowEachOther(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		t.Run(fmt.Sprint("SyncWrites ", syncWrites), func(t *testing.T) {
			r := newRig(t, syncWrites)
			const count = 200
			for i := range count {
				r.ok(r.write(i % 7 * 300))
			}
			groups := r.groups()
			if len(groups) != count || r.log.Written() != count || r.log.Version() != count {
				t.Fatalf("%d groups, written %d, version %d", len(groups), r.log.Written(), r.log.Version())
			}
			for i, g := range groups {
				if g.Number != uint64(i+1) || g.Durable >= g.Number || syncWrites && g.Durable != g.Number-1 {
					t.Errorf("group %d vouches for %d", g.Number, g.Durable)
				}
			}
			if r.log.segment.header.Number < 3 {
				t.Errorf("all of it is in %d segments", r.log.segment.header.Number)
			}
		})
	}
}

// The first error is every later call's, and it is told once.
func TestFirstErrorEndsTheLog(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpSync} {
		r := newRig(t, true)
		r.ok(r.write(1))
		fails := true
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == kind && fails {
				fails = false
				return syscall.EIO
			}
			return nil
		})
		first := r.write(1)
		if !errors.Is(first, errEnded) || !errors.Is(first, syscall.EIO) {
			t.Fatalf("%s: %v", kind, first)
		}
		r.log.PrepareRotation() // does nothing
		_, cutErr := r.log.Cut()
		_, finishErr := r.log.Finish()
		for _, err := range []error{r.log.Err(), r.log.MakeDurable(), cutErr, finishErr} {
			if err != first { //nolint:errorlint // the very same
				t.Errorf("%s: later %v", kind, err)
			}
		}
		if len(r.failed) != 1 || r.log.BeginFlush() != nil {
			t.Errorf("%s: told %v", kind, r.failed)
		}
	}
}

// A disk without space for the next segment fails one group. The log goes on
// when there is space again.
func TestNoSpaceIsNoFailure(t *testing.T) {
	r := newRig(t, true)
	r.ok(r.write(1))
	full := true
	r.fs.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpAllocate && full {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := r.write(SegmentAlign); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, errEnded) {
		t.Fatalf("error %v", err)
	}
	r.ok(r.write(1)) // it fits into the first segment
	full = false
	r.ok(r.write(SegmentAlign))
	if groups := r.groups(); len(groups) != 3 || len(r.failed) > 0 {
		t.Errorf("%d groups, failures %v", len(groups), r.failed)
	}
}

// Without SyncWrites, the flusher is woken after flushBytes, and only what was
// written before its fsync began becomes durable by it.
func TestFlushCoversWhatWasWrittenBefore(t *testing.T) {
	r := newRig(t, false)
	r.ok(r.write(flushBytes))
	if r.woken != 1 {
		t.Fatalf("woken %d times", r.woken)
	}
	f := r.log.BeginFlush()
	if f == nil || r.log.BeginFlush() != nil {
		t.Fatal("there is not one flush under way")
	}
	r.ok(r.write(1))
	f.Run()
	r.log.SettleFlush()
	if r.log.durable != 1 {
		t.Errorf("group %d is durable", r.log.durable)
	}
	r.ok(r.log.MakeDurable())
	if r.log.durable != 2 || r.log.BeginFlush() != nil {
		t.Errorf("after MakeDurable group %d is durable", r.log.durable)
	}
}

// Each segment has twice the planned length of the one before. For the one that
// a snapshot begins, the writer waits, so it is short; the plan goes on.
func TestSegmentLengths(t *testing.T) {
	r := newRig(t, true)
	r.ok(r.write(10))
	r.log.rotation.nextBytes = MaxSegmentBytes / 8
	for range 2 {
		_, err := r.log.Cut()
		r.ok(err)
		if r.log.segment.size != FirstSegmentBytes {
			t.Errorf("a snapshot begins a segment of %d bytes", r.log.segment.size)
		}
		r.ok(r.write(10))
	}
	for _, want := range []int64{MaxSegmentBytes / 2, MaxSegmentBytes} {
		r.ok(r.write(int(r.log.segment.size - SegmentAlign))) // there is room for one of this size
		r.ok(r.write(SegmentAlign))
		if r.log.segment.size != want {
			t.Errorf("a segment of %d bytes, want %d", r.log.segment.size, want)
		}
	}
}

// A snapshot's number says which files may go: those below it.
func TestPrune(t *testing.T) {
	for _, c := range []struct {
		snapshot uint64
		also     []string
		want     []string
	}{
		{0, nil, []string{"LOCK", format.SegmentName(1), format.SegmentName(2), format.SnapshotName(2), "foreign"}},
		{
			0,
			[]string{format.SegmentName(2)},
			[]string{"LOCK", format.SegmentName(1), format.SnapshotName(2), "foreign"},
		},
		{2, nil, []string{"LOCK", format.SegmentName(2), format.SnapshotName(2), "foreign"}},
		{3, nil, []string{"LOCK", "foreign"}},
		{math.MaxUint64, nil, []string{"LOCK", "foreign"}},
	} {
		fs := vfs.NewMem(nil)
		if err := fs.Mkdir("/db"); err != nil {
			t.Fatal(err)
		}
		names := []string{"LOCK", format.SegmentName(1), format.SegmentName(2), format.SnapshotName(2), "foreign"}
		for _, name := range names {
			if err := fs.WriteFile("/db/"+name, nil); err != nil {
				t.Fatal(err)
			}
		}
		dir, err := fs.OpenDir("/db")
		if err != nil {
			t.Fatal(err)
		}
		if err := Prune(dir, c.snapshot, c.also...); err != nil {
			t.Fatal(err)
		}
		left, err := dir.List()
		slices.Sort(left)
		slices.Sort(c.want)
		if err != nil || !slices.Equal(left, c.want) {
			t.Errorf("snapshot %d: %q, %v, want %q", c.snapshot, left, err, c.want)
		}
	}
}
